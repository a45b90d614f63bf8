"""The budget of a search holds however parameters are counted, or both counts are said."""

import json

import pytest

from tests.search.digits_runs import DIGITS

pytestmark = pytest.mark.slow
SHARING = """\
"stages.*.depth" = 3
stages.1.width = 8
stages.2.width = 16
stages.1.shared = "stage"
stages.2.shared = "stage"
stages = 2
"""


def test_no_layers_share_weights_unless_it_is_asked_for(tmp_path, inside):
    status, out, _ = inside(tmp_path, "--budget", 3000, "--trials", 5, "--jobs", 1, *DIGITS)
    assert (status, "layer by layer" in out) == (0, False)
    cost = json.loads((tmp_path / "studies" / "digits-3000" / "winner" / "card.json").read_text())["cost"]
    assert cost["n_stored"] == cost["n_params"] <= 3000


def test_a_search_that_shares_says_both_counts(tmp_path, inside):
    (tmp_path / "sharing.toml").write_text(SHARING)
    command = ("--budget", 3000, "--trials", 1, "--jobs", 1, *DIGITS, "--space", "sharing.toml")
    status, _, err = inside(tmp_path, *command)
    assert (status, err.count("\n")) == (2, 1)
    assert "add --share-weights, or leave it out" in err
    assert not (tmp_path / "studies").exists()

    status, out, _ = inside(tmp_path, *command, "--share-weights")
    folder = tmp_path / "studies" / "digits-3000"
    cost = json.loads((folder / "winner" / "card.json").read_text())["cost"]
    both = f"{cost['n_params']:,} parameters, {cost['n_stored']:,} counted layer by layer"
    assert (status, cost["n_params"] <= 3000, cost["n_params"] < cost["n_stored"]) == (0, True, True)
    rule = "layers may share them, and the budget counts shared ones once"
    assert f"weights  {rule}" in out
    report = (folder / "report.md").read_text()
    assert f"- Weights: {rule}." in report
    assert f"| parameters | {both.replace(' parameters', '')} (" in report
    assert "--share-weights" in report
    for name in ("model.py", "README.md"):
        assert both in " ".join((folder / "winner" / name).read_text().split())

    # The setting is that of the study, which goes on without the option.
    status, out, _ = inside(tmp_path, *command)
    assert (status, f"weights  {rule}" in out, ", 1 done" in out) == (0, True, True)
