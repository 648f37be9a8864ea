"""The page in a real browser: photos are dropped, restored, compared and downloaded, online and offline."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import web_page
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import ucdir
from ucdir.images.colour import colour_of_cicp

pytestmark = pytest.mark.skipif(web_page.missing() is not None, reason=f"the page: {web_page.missing()}")

WAIT_MS = 120_000
PLAIN_HOST = "ucdir.test"
"""A host that no browser trusts without TLS, as it does localhost."""
HAND_OVER = """
([action, name, type, data, count]) => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    for (let i = 0; i < count; i++) transfer.items.add(new File([bytes], name, {type}));
    const event = action === 'drop'
        ? new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true})
        : new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true});
    document.querySelector('#drop').dispatchEvent(event);
}
"""

CANCEL_ANOTHER = """() => {
    const [another, download, cancel] = ['another', 'download', 'cancel'].map((id) => document.getElementById(id));
    another.click();
    const disabled = download.disabled;
    cancel.click();
    return disabled;
}"""
"""At once, however fast the machine is; gives whether the result could not be downloaded meanwhile."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page, built, with two models."""
    folder = tmp_path_factory.mktemp("page") / "dist"
    web_page.build(folder, "jpeg_restoration", "low_light")
    return folder


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        # the sandbox is not for root, and containers have little shared memory
        options = [
            "--no-sandbox",
            "--disable-dev-shm-usage",
            f"--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1",
        ]
        browser = started.chromium.launch(executable_path=web_page.chromium(), args=options)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """A function that opens the page in a profile of its own; every request to another host fails the test."""
    contexts, foreign = [], []

    def begin(address, **options):
        context = browser.new_context(accept_downloads=True, **{"locale": "en-GB", **options})
        contexts.append(context)

        def guard(route):
            if route.request.url.startswith(address):
                route.continue_()
            else:
                foreign.append(route.request.url)
                route.abort()

        context.route("**/*", guard)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: foreign.append(str(error)))
        page.goto(address)
        page.wait_for_selector("html[data-ready]")
        return page

    yield begin
    for context in contexts:
        context.close()
    assert not foreign


@pytest.fixture(scope="module")
def photos(tmp_path_factory, root):
    """A JPEG file of Display P3, to be turned, with EXIF; and a PNG with a white border that was once a JPEG file."""
    folder = tmp_path_factory.mktemp("photos")
    with Image.open(root / "examples" / "coffee.jpg") as opened:
        image = opened.convert("RGB").crop((60, 40, 212, 168))
    image = image.transpose(Image.Transpose.ROTATE_90).resize((152, 128))  # no trace of its own file is left
    colour = colour_of_cicp(12, 13)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A maker"
    icc = colour.profile(3)
    image.save(folder / "turned.jpg", quality=70, exif=exif.tobytes(), icc_profile=icc)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=20)
    with Image.open(file) as compressed:
        bordered = Image.new("RGB", (190, 150), "white")
        bordered.paste(compressed, (16, 8))
        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
        bordered.save(folder / "was_jpeg.png", pnginfo=texts)
    return folder


@pytest.fixture(scope="module")
def by_program(tmp_path_factory):
    """A function: the photo as the program restores it, by the engine onnx in fp32."""
    pytest.importorskip("onnxruntime")
    loaded = {}
    folder = tmp_path_factory.mktemp("program")

    def load(name):
        return loaded.setdefault(name, ucdir.load(name, engine="onnx"))

    def restore(photo: Path, model=None, **options):
        pipeline = load if model is None else load(model)
        ucdir.restore(photo, folder / "restored.png", pipeline=pipeline, force=True, **options)
        return np.asarray(Image.open(folder / "restored.png")).astype(int)

    return restore


def drop(page, photo: Path, kind: str = "image/jpeg", action: str = "drop", count: int = 1) -> None:
    data = base64.b64encode(photo.read_bytes()).decode()
    page.evaluate(HAND_OVER, [action, photo.name, kind, data, count])


def wait_for_result(page, words: str = "Restored in") -> None:
    page.locator("#status", has_text=words).wait_for()


def download(page, kind: str = "png") -> bytes:
    page.select_option("#format", kind)
    with page.expect_download() as began:
        page.click("#download")
    return Path(began.value.path()).read_bytes()


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file))).astype(int)


def test_photo_is_restored_as_by_the_program_and_stays_here(folder, open_page, photos, by_program):
    """From the drop to the download; and then again without any network, from another photo."""
    with web_page.static_host(folder, isolated=True) as (address, requests):
        page = open_page(address)
        assert page.evaluate("crossOriginIsolated")
        page.locator("#offline", has_text="offline").wait_for()
        before = len(requests)

        drop(page, photos / "turned.jpg")
        wait_for_result(page)
        assert "128 × 152" in page.inner_text("#found")
        assert page.inner_text("#found").endswith("JPEG quality 70.")
        file = download(page)
        expected = by_program(photos / "turned.jpg")
        assert np.abs(pixels(file) - expected).max() <= 1
        assert (
            np.abs(expected - pixels((photos / "turned.jpg").read_bytes()).swapaxes(0, 1)[:, ::-1]).max() > 3
        )
        with Image.open(io.BytesIO(file)) as saved, Image.open(photos / "turned.jpg") as own:
            assert saved.info["icc_profile"] == own.info["icc_profile"]
            assert saved.getexif()[0x0112] == 1
            assert saved.getexif()[0x010F] == "A maker"

        with (
            Image.open(io.BytesIO(download(page, "jpeg"))) as saved,
            Image.open(photos / "turned.jpg") as own,
        ):
            assert saved.format == "JPEG"
            assert saved.info["icc_profile"] == own.info["icc_profile"]
            assert saved.getexif()[0x010F] == "A maker"
            assert np.abs(np.asarray(saved).astype(int) - expected).mean() < 2

        # without the sampled detail, and with other detail
        page.locator("#detail").focus()
        page.keyboard.press("Home")
        assert page.inner_text("#detailValue") == "0 %"
        smooth = pixels(download(page))
        assert np.abs(smooth - by_program(photos / "turned.jpg", fidelity=1.0)).max() <= 1
        page.locator("#detail").focus()  # which the button took
        page.keyboard.press("End")
        page.click("#another")
        wait_for_result(page)
        other = pixels(download(page))
        assert np.abs(other - by_program(photos / "turned.jpg", seed=1)).max() <= 1
        assert np.abs(other - expected).max() > 1

        # nothing left the page while it worked; the browser itself looks for a newer one
        assert set(requests[before:]) <= {"/sw.js"}
    # the host is gone
    page.reload()
    page.wait_for_selector("html[data-ready]")
    drop(page, photos / "was_jpeg.png", "image/png")
    wait_for_result(page)
    assert "once JPEG" in page.inner_text("#found")
    expected = by_program(photos / "was_jpeg.png")
    found = pixels(download(page))
    assert np.abs(found - expected).max() <= 1
    assert (found[:4] == 255).all()


def test_comparison_by_keyboard_zoom_language_and_a_narrow_screen(folder, open_page, photos):
    with web_page.static_host(folder, isolated=True) as (address, _):
        narrow = {"viewport": {"width": 390, "height": 800}, "locale": "de-DE", "color_scheme": "dark"}
        page = open_page(address, **narrow, service_workers="block")
        assert page.evaluate("document.documentElement.lang") == "de"
        page.set_input_files("#file", photos / "was_jpeg.png")
        wait_for_result(page, "Wiederhergestellt in")
        slider = page.locator("#slider")
        assert slider.get_attribute("aria-valuenow") == "50"
        slider.focus()
        page.keyboard.down("ArrowRight")
        page.locator("#slider:not([aria-valuenow='50'])").wait_for()
        page.keyboard.up("ArrowRight")
        assert int(slider.get_attribute("aria-valuenow")) > 50
        fit, full = (page.locator(name) for name in ("#fit", "#full"))
        full.click()
        assert (fit.get_attribute("aria-pressed"), full.get_attribute("aria-pressed")) == ("false", "true")
        assert page.locator("#after").bounding_box()["width"] == 190
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        background = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(background)
        page.emulate_media(color_scheme="light")
        assert page.evaluate(background) != dark
        page.select_option("#language", "en")
        assert page.inner_text("#restore") == "Restore"
        unnamed = """[...document.querySelectorAll('input, select, button, [role=slider]')].filter(
            (one) => !one.labels?.length && !one.textContent.trim() && !one.ariaLabel).map((one) => one.id)"""
        assert page.evaluate(unnamed) == []


def test_bad_files_get_a_sentence_and_work_can_be_cancelled(folder, open_page, photos, tmp_path, by_program):
    """On a host without the headers for threads, where the page adds them itself."""
    text, cut, large = (tmp_path / name for name in ("text.jpg", "cut.jpg", "large.png"))
    text.write_text("no image")
    cut.write_bytes((photos / "turned.jpg").read_bytes()[:-600])
    Image.fromarray(np.random.default_rng(0).integers(60, 90, (700, 900, 3)).astype(np.uint8)).save(large)
    with web_page.static_host(folder, isolated=False) as (address, _):
        page = open_page(address)
        page.locator("#offline", has_text="offline").wait_for()  # it has been loaded once more
        assert page.evaluate("crossOriginIsolated")
        for photo, words in (
            (text, "text.jpg is not an image"),
            (cut, "cut.jpg is a damaged or incomplete JPEG"),
        ):
            drop(page, photo)
            page.locator("#error", has_text=words).wait_for()
            assert page.locator("#settings").is_hidden()

        drop(page, large, "image/png")
        page.locator("#found", has_text="900 × 700").wait_for()
        assert page.locator("#error").is_hidden()
        assert page.input_value("#model") == ""  # nothing shows what is wrong
        page.click("#restore")
        assert page.locator("#result").is_hidden()
        page.select_option("#model", "low_light")
        page.click("#restore")
        page.click("#cancel")
        page.locator("#status", has_text="Cancelled").wait_for()
        assert page.locator("#result").is_hidden()

        # the page works on, also with what the user knows
        small = photos / "was_jpeg.png"
        drop(page, small, "image/png", "paste", count=3)
        wait_for_result(page)
        assert page.inner_text("#found").endswith(
            "Not in what you download: XMP. One photo at a time: 2 more were not opened."
        )
        assert page.evaluate(CANCEL_ANOTHER), "download would end what is running"
        page.locator("#status", has_text="Cancelled").wait_for()
        assert page.locator("#result").is_hidden(), "its worker is gone"
        page.evaluate("document.querySelector('[data-scalar=jpeg_quality]').value = 200")  # folded away
        page.click("#restore")
        page.locator("#more[open]").wait_for()
        page.click("summary")
        page.select_option("#model", "low_light")
        page.click("summary")
        page.fill("[data-scalar=brighten]", "3")
        page.fill("#seed", "0")  # not that of the other detail
        page.fill("[data-scalar=noise_strength]", "9")
        page.click("#restore")
        wait_for_result(page)
        found = pixels(download(page))
        expected = by_program(small, model="low_light", brighten=3, scalars={"noise_strength": 9})
        assert np.abs(found - expected).max() <= 1


def test_page_uses_the_server_that_it_came_from(folder, open_page, photos, tmp_path):
    pytest.importorskip("starlette", reason="needs the extra serve")
    from http_server import Server

    server = Server(tmp_path, "--page", folder, "--engine", "onnx", "--allowed-host", PLAIN_HOST)
    try:
        page = open_page(f"http://{PLAIN_HOST}:{server.port}/")
        assert not page.evaluate("isSecureContext"), "as in a network without TLS"
        assert "by the server" in page.inner_text("#private")
        page.route("**/v1/inspect", lambda _: None)  # a large photo on its way
        drop(page, photos / "turned.jpg")
        page.click("#cancel")
        page.locator("#status", has_text="Cancelled").wait_for()
        page.unroute("**/v1/inspect")
        drop(page, photos / "turned.jpg")
        wait_for_result(page)
        file = download(page)
        (tmp_path / "text.jpg").write_text("no image")
        drop(page, tmp_path / "text.jpg")
        page.locator("#error", has_text="is not an image").wait_for()
    finally:
        server.stop()
    expected = ucdir.restore(
        (photos / "turned.jpg").read_bytes(), pipeline=ucdir.load(engine="onnx"), format="png"
    )
    assert np.abs(pixels(file) - pixels(expected)).max() <= 1


def test_lock_file_names_the_public_registry(root):
    lock = json.loads((root / "web" / "package-lock.json").read_text())
    places = [one["resolved"] for one in lock["packages"].values() if "resolved" in one]
    assert len(places) > 50
    assert all(place.startswith("https://registry.npmjs.org/") for place in places)
