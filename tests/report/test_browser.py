"""The page in a browser: it draws, sorts, follows pointer and keyboard, and asks nobody else."""

import pytest
from report.folders import make_run

from asterism.report import write_report

HOSTILE = [
    "<script>window.pwned = 1</script>",
    "\"'><img src=x onerror='window.pwned = 1'>",
    "</script><script>window.pwned = 1</script>",
    "\u202eright to left\u202c {{ 7 * 7 }}",
    "x" * 10_000,
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    one = make_run(folder / "rkd_0")
    two = make_run(folder / "rkd_1", seed=1, shift=2, sampled=False)
    other = make_run(folder / "crd_0", lr=0.2, shift=-3, sampled=False)
    texts = make_run(folder / "texts", names=HOSTILE, texts=HOSTILE, n=40)
    alone = make_run(folder / "alone", beside=False, labels=False)
    runs = {
        "one": [one], "several": [one, two, other], "hostile": [texts], "alone": [alone],
    }  # fmt: skip
    return {name: write_report(r, folder / f"{name}.html").as_uri() for name, r in runs.items()}


@pytest.fixture
def visit(browser, pages):
    """Open a page; in the end, nothing may have been asked for and nothing complained."""
    complaints, asked, contexts = [], [], []

    def visited(name, *, width=1200, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(pages[name])
        for figure in page.locator(".chart, .map").all():
            figure.locator("svg").first.wait_for(state="attached")
        return page

    yield visited
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url[:80] for url in asked if not url.startswith(("data:", *pages.values()))] == []


@pytest.mark.parametrize("name", ["one", "several", "hostile", "alone"])
def test_every_figure_is_drawn_and_nothing_overflows(visit, name):
    for width in (320, 1920):
        page = visit(name, width=width)
        assert page.locator(".chart svg").count() >= 3
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("window.pwned") is None
        assert page.locator("main img, main script").count() == 0


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("several", 1200, "light"), ("several", 1200, "dark"), ("hostile", 320, "dark")],
)
def test_axe_finds_no_serious_fault(visit, axe, name, width, scheme):
    page = visit(name, width=width, scheme=scheme)
    page.locator(".map input").first.focus()
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    page.evaluate(axe)
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    assert {"color-contrast", "label"} <= {rule["id"] for rule in found["passes"]}
    bad = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in bad] == []


def test_tables_sort_by_pointer_and_by_keyboard(visit):
    page = visit("several")
    head = page.locator(".sortable th", has_text="accuracy")
    column = page.locator(".sortable tbody tr td:nth-of-type(4)")
    assert [text.split()[0] for text in column.all_inner_texts()] == ["83.6", "79.6", "90.6"]
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert [text.split()[0] for text in column.all_inner_texts()] == ["90.6", "83.6", "79.6"]
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert [text.split()[0] for text in column.all_inner_texts()] == ["79.6", "83.6", "90.6"]
    name = page.locator(".sortable th", has_text="run").first
    name.locator("button").click()
    assert head.get_attribute("aria-sort") is None
    assert page.locator(".sortable tbody th").all_inner_texts()[0].startswith("teacher")


def test_a_sample_is_marked_in_both_maps_by_pointer_and_by_keyboard(visit):
    page = visit("one")
    rings, detail = page.locator(".map .ring"), page.locator(".map .detail")
    assert rings.count() == 2
    assert not rings.first.is_visible()
    panel = page.locator(".panel svg").nth(1)
    panel.scroll_into_view_if_needed()
    dot = panel.locator("circle").nth(7).bounding_box()
    page.mouse.move(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    assert rings.first.is_visible()
    assert rings.nth(1).is_visible()
    ring = rings.nth(1).bounding_box()
    assert abs(ring["x"] + ring["width"] / 2 - dot["x"] - dot["width"] / 2) < 1
    assert abs(ring["y"] + ring["height"] / 2 - dot["y"] - dot["height"] / 2) < 1
    pointed = detail.inner_text()
    assert "row " in pointed
    assert "class " in pointed
    assert detail.locator(".picture").is_visible()
    slider = page.locator(".map input")
    slider.focus()
    slider.press("Home")
    first = slider.get_attribute("aria-valuetext")
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") != first
    assert slider.get_attribute("aria-valuetext").split(",")[0] in detail.inner_text()


def test_charts_answer_the_pointer(visit):
    page = visit("one")
    chart = page.locator(".chart.overlap svg")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.locator(".chart.overlap", has_text="k = ").wait_for()


def test_theme_follows_the_system_and_the_switch(visit):
    def paper(page):
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = visit("one"), visit("one", scheme="dark")
    assert paper(light) != paper(dark)
    before = paper(light)
    light.get_by_label("Theme").select_option("dark")
    assert paper(light) == paper(dark)
    light.emulate_media(media="print")
    assert paper(light) == before


def test_texts_stay_texts(visit):
    page = visit("hostile")
    shown = page.locator("main").inner_text()
    assert "<script>window.pwned = 1</script>" in shown
    assert "{{ 7 * 7 }}" in shown
    assert "\u202e" not in shown
    assert "xxx…" in shown
    assert "x" * 400 not in page.content()
    slider = page.locator(".map input")
    for _ in range(8):
        slider.press("ArrowRight")
    assert page.evaluate("window.pwned") is None
