"""`ucdir data check`."""

import json

from ucdir.images import Photo, write


def test_data_check(ucdir, tmp_path, pixels):
    for name in ("a", "b"):
        write(Photo(pixels), tmp_path / f"{name}.png")
    status, out, _ = ucdir("data", "check", tmp_path, "--task", "deblurring", "--crop", "8")
    assert status == 0
    assert out.startswith("2 of 2 photographs can be used")
    (tmp_path / "c.png").write_bytes(b"nothing")
    status, out, _ = ucdir(
        "data", "check", tmp_path, "--task", "deblurring", "--json", tmp_path / "report.json"
    )
    assert status == 1
    assert "problem: " in out
    assert json.loads((tmp_path / "report.json").read_text())["found"] == 3
    assert ucdir("data", "check", tmp_path / "absent", "--task", "deblurring")[0] == 2
