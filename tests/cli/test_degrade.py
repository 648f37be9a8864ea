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
    command = ("degrade", tmp_path / "clean.png", "-o", bad)
    status, _, err = ucdir(*command, "--task", "deblurring")
    assert status == 2
    assert "exists" in err
    assert ucdir(*command, "--task", "deblurring", "--overwrite")[0] == 0


def test_a_folder_of_pairs(ucdir, tmp_path, pixels):
    for name in ("a.png", "sub/b.tif", "sub/b.png"):
        (tmp_path / "clean" / name).parent.mkdir(parents=True, exist_ok=True)
        write(Photo(pixels), tmp_path / "clean" / name)
    (tmp_path / "clean" / "bad.jpg").touch()
    command = ("degrade", tmp_path / "clean", "--task", "deblurring", "-o")
    status, out, err = ucdir(*command, tmp_path / "blurred")
    assert status == 1
    assert "bad.jpg is empty" in err
    made = [tmp_path / "blurred" / name for name in ("a.png", "sub/b.png.png", "sub/b.tif.png")]
    assert sorted((tmp_path / "blurred").rglob("*.png")) == made
    assert len({file.read_bytes() for file in made}) == 3, "each has a degradation of its own"
    (tmp_path / "clean" / "a.png").rename(tmp_path / "clean" / "z.png")
    ucdir(*command, tmp_path / "again")
    for name in ("sub/b.png.png", "sub/b.tif.png"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (tmp_path / "blurred" / name).read_bytes(), "whatever else is there"
    assert ucdir(*command, tmp_path / "x.png")[0] == 2
    seed = out.splitlines()[0].split("seed ")[1].split(",")[0]
    ucdir(
        "degrade",
        tmp_path / "clean" / "z.png",
        "-o",
        tmp_path / "one.png",
        "--task",
        "deblurring",
        "--seed",
        seed,
    )
    assert (tmp_path / "one.png").read_bytes() == made[0].read_bytes()
