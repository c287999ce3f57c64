"""The page of a run's curves holds its numbers and needs no network."""

from __future__ import annotations

import json
import re

import pytest

from tessera_core.cli import main
from tessera_core.pretrain.config import PretrainError
from tessera_core.pretrain.curves import page, read_log, sparkline, write_page


def records(steps: int = 60) -> list[dict]:
    out = []
    for step in range(steps):
        record = {"step": step, "loss": 500.0 / (step + 1), "on_diagonal": 90.0, "off_diagonal": 8.0, "mixup": 2.0}
        record |= {"rate": 1e-3, "gradient": 10.0, "seconds": float(step)}
        if step % 20 == 0:
            record |= {"rank": 0.5 + step / 1000, "projection_rank": 0.9}
        if step % 30 == 29:
            record |= {"probe": {"5": 0.7 + step / 1000, "50": 0.8}, "probe_rank": 0.6}
        out.append(record)
    return out


def figures(text: str) -> list[dict]:
    return [
        json.loads(each.replace("<\\/", "</")) for each in re.findall(r"draw\('plot-\d+',(\{.*?\})\);(?=draw|</)", text)
    ]


def test_every_watched_figure_is_drawn_from_the_log():
    drawn = figures(page(records(), "studio-x"))
    names = {trace["name"] for figure in drawn for trace in figure["data"]}
    assert {"total", "mix-up", "5 labels per class", "50 labels per class", "learning rate"} <= names
    assert {"representation, training batch", "projection, training batch", "representation, held-out worlds"} <= names
    probe = next(t for figure in drawn for t in figure["data"] if t["name"] == "5 labels per class")
    assert list(probe["x"]) == [30, 60]
    assert list(probe["y"]) == pytest.approx([0.729, 0.759])


def test_the_page_is_whole_and_quiet():
    text = page(records(), "a </script><b>")
    assert "a &lt;/script&gt;&lt;b&gt;" in text
    # Nothing is loaded from elsewhere: no element names a source.
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", text)
    assert "viewport" in text
    assert "http-equiv" not in text
    assert 'http-equiv="refresh"' in page(records(), "x", steps=100)
    assert 'http-equiv="refresh"' not in page(records(), "x", steps=60)


def test_long_runs_stay_small():
    long, short = (len(page(records(n), "x")) for n in (20_000, 1000))
    assert long < short + 600_000


def test_the_command_draws_a_run(tmp_path, capsys):
    assert main(["pretrain", "--plot", str(tmp_path)]) == 2
    assert "holds no training run" in capsys.readouterr().err
    lines = "".join(json.dumps(r) + "\n" for r in records())
    (tmp_path / "log.jsonl").write_text(lines + '{"step": 60, "lo')
    assert main(["pretrain", "--plot", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"plot": str(tmp_path / "curves.html"), "steps": 60}
    assert len(read_log(tmp_path)) == 60
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(PretrainError, match="no record yet"):
        write_page(tmp_path)
    assert main(["pretrain"]) == 2
    assert "Name a configuration" in capsys.readouterr().err


def test_sparkline_follows_the_values():
    assert sparkline([]) == ""
    assert sparkline([1.0, 1.0]) == "▁▁"
    line = sparkline([10.0**-k for k in range(8)])
    assert line == "█▇▆▅▄▃▂▁"
    assert len(sparkline(range(1000), 16)) == 16
