"""Write the model card of the shipped folder from its template, the figures measured and the files themselves."""

import argparse
import json
from pathlib import Path
from string import Template
from typing import Any

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "demo"


def values(figures: dict[str, Any], folder: Path) -> dict[str, str]:
    """What the template names: shares as "93.1 % (554 of 595)", the shape, the size."""
    found = {}
    for name, figure in figures.items():
        found[name] = (
            f"{figure['percent']} % ({figure['right']} of {figure['asked']})"
            if isinstance(figure, dict)
            else str(figure)
        )
    config = json.loads((folder / "config.json").read_text())
    for name in ("num_hidden_layers", "hidden_size", "vocab_size", "max_position_embeddings"):
        found[name] = str(config[name])
    found["parameters"] = f"{parameters(config) / 1e6:.2f}"
    size = sum(path.stat().st_size for path in folder.iterdir() if path.name != "MODEL_CARD.md")
    found["megabytes"] = f"{size / 1e6:.1f}"
    return found


def parameters(config: dict[str, Any]) -> int:
    """Parameters of a Qwen3 model with a tied embedding."""
    hidden, head = config["hidden_size"], config["head_dim"]
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    attention = hidden * head * (2 * heads + 2 * shared) + 2 * head
    layer = attention + 3 * hidden * config["intermediate_size"] + 2 * hidden
    return int(config["vocab_size"] * hidden + config["num_hidden_layers"] * layer + hidden)


def main() -> None:
    """Fill the template."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", type=Path, default=HERE / "figures.json")
    parser.add_argument("--model", type=Path, default=DEMO)
    given = parser.parse_args()
    template = Template((HERE / "model_card.md").read_text())
    figures = json.loads(given.figures.read_text())
    (given.model / "MODEL_CARD.md").write_text(template.substitute(values(figures, given.model)))


if __name__ == "__main__":
    main()
