"""`ucdir degrade`."""

from ucdir.images import Photo, write


def test_degrade_and_back(ucdir, tmp_path, pixels):
    write(Photo(pixels), tmp_path / "clean.png")
    bad = tmp_path / "bad.jpg"
    status, out, err = ucdir(
        "degrade", tmp_path / "clean.png", "-o", bad, "--task", "jpeg_restoration", "--strength", "20"
    )
    assert (status, err) == (0, "")
    assert out == f"{tmp_path / 'clean.png'}: jpeg restoration, seed 0, jpeg quality 20 -> {bad}\n"
    assert "jpeg quality 20" in ucdir("restore", bad)[1]
    status, _, err = ucdir("degrade", tmp_path / "clean.png", "-o", bad, "--task", "deblurring")
    assert status == 2
    assert "exists" in err
