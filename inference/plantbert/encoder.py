"""BERT's classification forward for rows of equal length: no padding, no mask, only [CLS] in the last layer.

Equal to `BertForSequenceClassification` up to rounding, at about half the work for a model of two layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f


def _stack_linears(*linears: Any) -> nn.Linear:
    """One linear layer that gives the outputs of several, side by side."""
    weight = torch.cat([layer.weight for layer in linears]).detach()
    joined = nn.Linear(weight.shape[1], weight.shape[0])
    joined.weight = nn.Parameter(weight, requires_grad=False)
    joined.bias = nn.Parameter(torch.cat([layer.bias for layer in linears]).detach(), requires_grad=False)
    return joined


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
        self.query_key_value = nn.ModuleList(_stack_linears(s.query, s.key, s.value) for s in selves[:-1])
        # The classifier reads [CLS] alone, so the last layer asks one question instead of L.
        self.last_query = _stack_linears(selves[-1].query)
        self.last_key_value = _stack_linears(selves[-1].key, selves[-1].value)
        self.eval()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (n, C) of token rows (n, L) without padding."""
        x = self.embeddings(input_ids=tokens)
        n, _, width = x.shape
        shape = (n, -1, self.heads, width // self.heads)
        for i, block in enumerate(self.blocks):
            if i < len(self.query_key_value):
                head = x
                q, k, v = self.query_key_value[i](x).chunk(3, dim=-1)
            else:
                head = x[:, :1]
                q = self.last_query(head)
                k, v = self.last_key_value(x).chunk(2, dim=-1)
            q, k, v = (part.reshape(shape).transpose(1, 2) for part in (q, k, v))
            context = f.scaled_dot_product_attention(q, k, v)
            context = context.transpose(1, 2).reshape(n, -1, width)
            attention = block.attention.output(context, head)
            x = block.output(block.intermediate(attention), attention)
        logits: Tensor = self.classifier(self.pooler(x))
        return logits
