"""`ucdir ablate` from its words."""

import pytest


@pytest.mark.parametrize(
    "words", [[], ["--task", "low_light"], ["own.yaml", "--task", "low_light", "--photos", "photos"]]
)
def test_it_is_told_a_configuration_or_a_task(ucdir, refused, tmp_path, words):
    result = ucdir("ablate", *words, "--steps", 1, "-o", tmp_path / "study")
    refused(result, "name a configuration, or --task and --photos")
    assert not (tmp_path / "study").exists()


def test_an_unknown_task_or_row_is_named(ucdir, refused, tmp_path, photo):
    told = ["--photos", photo.parent, "--steps", 1, "-o", tmp_path / "study"]
    refused(ucdir("ablate", "--task", "dehazing", *told), "dehazing", "jpeg_restoration")
    refused(ucdir("ablate", "--task", "low_light", "--row", "Attention", *told), "Attention", "AdaIN")
