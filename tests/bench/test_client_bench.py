"""A smoke run of `bench client`."""

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.client_uses import USES


@pytest.mark.timeout(120)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_client(tmp_path: Path) -> None:
    """`bench client --quick` tries each way to share a client, and measures it beside others."""
    file = tmp_path / "bench.json"
    assert main(["client", "--quick", "--json", str(file)]) == 0
    results = json.loads(file.read_bytes())["results"]
    assert results["failed"] == dict.fromkeys(USES, 0)
    assert {"encke.connect", "http.client"} <= {it["client"] for it in results["samples"]}
    assert all(it["milliseconds"] > 0 for it in results["opened"])
