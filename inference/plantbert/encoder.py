"""BERT's classification forward for rows of equal length: no padding, no mask, only [CLS] in the last layer.

Equal to `BertForSequenceClassification` up to rounding, at about half the work for a model of two layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f


class PackedBert(nn.Module):
    """Holds the weights of a BertForSequenceClassification with queries, keys and values fused."""

    def __init__(self, model: Any) -> None:
        """Take over `model` (transformers.BertForSequenceClassification) in evaluation mode."""
        super().__init__()
        self.embeddings = model.bert.embeddings
        self.blocks = model.bert.encoder.layer
        self.pooler = model.bert.pooler
        self.classifier = model.classifier
        self.heads = int(model.config.num_attention_heads)
        selves = [block.attention.self for block in self.blocks]
        parts = [(s.query, s.key, s.value) for s in selves]
        self.weight = [torch.cat([p.weight for p in three]).detach() for three in parts]
        self.bias = [torch.cat([p.bias for p in three]).detach() for three in parts]
        self.eval()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (n, C) of token rows (n, L) without padding."""
        x = self.embeddings(input_ids=tokens)
        n, _, width = x.shape
        shape = (n, -1, self.heads, width // self.heads)
        last = len(self.blocks) - 1
        for i, block in enumerate(self.blocks):
            weight, bias = self.weight[i], self.bias[i]
            # The classifier reads [CLS] alone, so the last layer asks one question instead of L.
            head = x[:, :1] if i == last else x
            q = f.linear(head, weight[:width], bias[:width]).view(shape).transpose(1, 2)
            k, v = f.linear(x, weight[width:], bias[width:]).chunk(2, dim=-1)
            k, v = k.view(shape).transpose(1, 2), v.view(shape).transpose(1, 2)
            context = f.scaled_dot_product_attention(q, k, v)
            context = context.transpose(1, 2).reshape(n, -1, width)
            attended = block.attention.output(context, head)
            x = block.output(block.intermediate(attended), attended)
        logits: Tensor = self.classifier(self.pooler(x))
        return logits
