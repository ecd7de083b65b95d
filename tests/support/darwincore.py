"""Darwin Core archives made of sections of a meta.xml and files, for tests."""

from __future__ import annotations

import zipfile
from pathlib import Path

DWC = "http://rs.tdwg.org/dwc/terms/"


def section(
    tag: str,
    kind: str,
    locations: list[str],
    terms: list[str],
    *,
    separator: str = "\\t",
    quote: str = "",
    encoding: str = "UTF-8",
    defaults: dict[str, str] | None = None,
    row_type: str = "",
) -> str:
    key = "id" if tag == "core" else "coreid"
    addresses = [term if "/" in term else DWC + term for term in terms]
    fields = "".join(f'<field index="{i}" term="{address}"/>' for i, address in enumerate(addresses, 1))
    fields += "".join(f'<field default="{v}" term="{DWC}{t}"/>' for t, v in (defaults or {}).items())
    files = "".join(f"<location>{name}</location>" for name in locations)
    return (
        f'<{tag} encoding="{encoding}" fieldsTerminatedBy="{separator}" linesTerminatedBy="\\n" fieldsEnclosedBy="{quote}"'
        f' ignoreHeaderLines="1" rowType="{row_type or DWC + kind}"><files>{files}</files><{key} index="0"/>{fields}</{tag}>'
    )


def archive(folder: Path, sections: list[str], files: dict[str, bytes], *, zipped: bool = False, inside: str = "") -> str:
    meta = f'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="eml.xml">{"".join(sections)}</archive>'
    content = {"meta.xml": meta.encode(), **files}
    if zipped:
        with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as out:
            for name, data in content.items():
                out.writestr(inside + name, data)
        return str(folder / "a.zip")
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return str(folder)
