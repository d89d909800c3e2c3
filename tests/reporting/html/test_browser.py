"""The report in a real browser: Chromium, from disk, without a network."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dense_runs
import numpy as np
import pytest
from report_pages import NO_SCRIPT, make_suite, write_runs
from synthetic_runs import make_record, write_run

from sar_cls.reporting.html.page import write_report
from sar_cls.runs import ledger

# Without the switches about the background Chromium looks for its maker's hosts at every start.
SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--force-prefers-reduced-motion",
    "--window-size=1200,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all tests, driven by Selenium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for switch in SWITCHES:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every part; the names of row and classes try to get out of where they stand."""
    folder = tmp_path_factory.mktemp("report")
    runs = write_runs(folder / "work")
    for run_dir, _ in runs:
        with np.load(run_dir / "test_outputs.npz") as arrays:
            kept = dict(arrays)
        names = [f"class {number}" for number in range(9)] + [NO_SCRIPT]
        np.savez(run_dir / "test_outputs.npz", **kept, classes=np.array(names))
    return write_report(
        [make_suite(folder)], runs, folder / "report.html", title=f"Report {NO_SCRIPT}", warn=lambda _: None
    )


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    """The browser with the page freshly opened; after the test its console must be silent."""
    browser.get(page.as_uri())
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def column(browser: Any, number: int) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelector('#v1-t1').tBodies[0].rows].map((row) => row.cells[arguments[0]].innerText)",
        number,
    )


def leading(text: str) -> float:
    """The number that a cell begins with."""
    return float(text.split()[0])


def test_opens_from_disk_and_loads_nothing(opened: Any) -> None:
    assert opened.execute_script("return document.documentElement.dataset.ready") == ""
    assert opened.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)") == []
    figures = opened.execute_script(
        "return [...document.querySelectorAll('figure')].map((figure) => [figure.dataset.figure, "
        "figure.querySelectorAll('svg, canvas').length > 0])"
    )
    assert figures == [["dots", True], ["training", True], ["readings", True], ["maps", True], ["classes", True]]


def test_no_text_becomes_markup(opened: Any) -> None:
    assert opened.execute_script("return window.hacked") is None
    assert NO_SCRIPT in opened.find_element("tag name", "h1").text
    assert "<b>Own & row</b>" in column(opened, 0)


def test_a_cell_opens_to_what_stands_behind_it_and_gives_the_focus_back(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    cell = opened.find_element("css selector", "#v1-t1 button.cell[data-opens='difference']")
    cell.send_keys(Keys.ENTER)
    dialog = opened.find_element("id", "behind")
    assert dialog.get_attribute("open") is not None
    text = dialog.text
    for known in (
        "1270964153",
        "1024",
        "5555",
        "hash-of-mixup_sar",
        "0123456789",
        "train aaaaaaaa",
        "a CPU",
        "2 degrees of freedom",
    ):
        assert known in text
    dialog.find_element("tag name", "summary").click()
    assert "python benchmarks/run.py --suite cifar100_lt --only mixup_sar --seeds" in dialog.text
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert dialog.get_attribute("open") is None
    assert opened.switch_to.active_element == cell


@pytest.mark.parametrize("kind", ["value", "paper", "run"])
def test_every_kind_of_cell_opens(opened: Any, kind: str) -> None:
    for cell in opened.find_elements("css selector", f"button.cell[data-opens='{kind}']")[:3]:
        opened.execute_script("arguments[0].click()", cell)
        assert len(opened.find_element("id", "behind-body").text) > 20
        opened.find_element("id", "behind-close").click()


def test_a_heading_sorts_up_down_and_back(opened: Any) -> None:
    before = column(opened, 3)
    heading = opened.find_elements("css selector", "#v1-t1 thead th")[3]
    button = heading.find_element("tag name", "button")
    button.click()
    up = column(opened, 3)
    assert heading.get_attribute("aria-sort") == "ascending"
    numbers = [leading(text) for text in up[:-1]]
    assert numbers == sorted(numbers)
    assert numbers != [leading(text) for text in before if text != "–"]
    assert up[-1] == "–"  # not run
    button.click()
    down = column(opened, 3)
    assert heading.get_attribute("aria-sort") == "descending"
    assert down[:-1] == up[-2::-1]
    assert down[-1] == "–"
    button.click()
    assert heading.get_attribute("aria-sort") is None
    assert column(opened, 3) == before


def test_charts_are_read_by_pointer_and_by_keyboard(opened: Any) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    tip, spoken = opened.find_element("id", "tip"), opened.find_element("id", "spoken")
    for kind, known in (("training", "Epoch"), ("dots", "points"), ("maps", "distance"), ("classes", "training image")):
        chart = opened.find_element("css selector", f"figure[data-figure='{kind}'] svg[role='img']")
        assert len(chart.get_attribute("aria-label")) > 40
        opened.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", chart)
        opened.switch_to.active_element.send_keys(Keys.ARROW_DOWN if kind == "dots" else Keys.ARROW_RIGHT)
        assert known in opened.execute_script("return arguments[0].textContent", spoken)
    chart = opened.find_element("css selector", "figure[data-figure='training'] svg[role='img']")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    ActionChains(opened).move_to_element(chart).perform()
    assert "MixUp+SAR" in tip.text
    canvas = opened.find_element("tag name", "canvas")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    ActionChains(opened).move_to_element(canvas).perform()
    assert "%" in tip.text


def test_rows_and_columns_can_be_chosen(opened: Any) -> None:
    paths = "return document.querySelectorAll(\"figure[data-figure='training'] .chart path[stroke-width='2']\").length"
    lines = opened.execute_script(paths)
    box = opened.find_element("css selector", "figure[data-figure='training'] input")
    opened.execute_script("arguments[0].click()", box)
    assert opened.execute_script(paths) == lines - 1
    classes = opened.find_element("css selector", "figure[data-figure='classes']")
    first = classes.find_element("css selector", ".controls select")
    before = classes.find_element("css selector", ".chart .quiet").text
    opened.execute_script(
        "arguments[0].value = arguments[0].options[0].value; arguments[0].dispatchEvent(new Event('change'))", first
    )
    assert classes.find_element("css selector", ".chart .quiet").text != before
    opened.execute_script("arguments[0].querySelector('.chart > div > details').open = true", classes)
    assert len(classes.find_elements("css selector", ".chart > div > details tbody tr")) == 10


def test_tables_and_headings_are_sound(opened: Any) -> None:
    problems = opened.execute_script(
        """
        const found = [];
        for (const table of document.querySelectorAll("table")) {
          if (!table.caption || !table.caption.textContent.trim()) found.push("a table without a caption");
          if ([...table.querySelectorAll("th")].some((cell) => !cell.hasAttribute("scope"))) found.push("a heading without scope");
        }
        for (const control of document.querySelectorAll("button, select, input"))
          if (!(control.textContent.trim() || control.closest("label"))) found.push("a control without a name");
        for (const picture of document.querySelectorAll("[role=img]"))
          if (!picture.getAttribute("aria-label")) found.push("a picture without words");
        let level = 0;
        for (const heading of document.querySelectorAll("main h2, main h3, main h4")) {
          const now = Number(heading.tagName[1]);
          if (level && now > level + 1) found.push(`heading ${heading.textContent} skips a level`);
          level = now;
        }
        const ids = [...document.querySelectorAll("[id]")].map((item) => item.id);
        if (new Set(ids).size !== ids.length) found.push("an id twice");
        for (const link of document.querySelectorAll("a[href^='#']"))
          if (!document.getElementById(link.getAttribute("href").slice(1))) found.push(`no target of ${link.getAttribute("href")}`);
        return found;
        """
    )
    assert problems == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_of_text(opened: Any, theme: str) -> None:
    """At least 4.5 between text and ground (WCAG 2, AA)."""
    ratio = """
        document.documentElement.dataset.theme = arguments[0];
        const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const light = (color) => {
          paint.fillStyle = color;
          paint.fillRect(0, 0, 1, 1);
          const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          const [r, g, b] = [...paint.getImageData(0, 0, 1, 1).data].map((v) => linear(v / 255));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const style = getComputedStyle(document.documentElement), value = (name) => light(style.getPropertyValue(name).trim());
        return ["--ink", "--quiet", "--link", "--good", "--bad", "--open"].map((name) => ["--ground", "--raised"].map((ground) => {
          const [a, b] = [value(name), value(ground)].sort((x, y) => y - x);
          return (a + 0.05) / (b + 0.05);
        })).flat();
    """
    assert min(opened.execute_script(ratio, theme)) >= 4.5


def test_a_narrow_window_does_not_scroll_sideways(opened: Any) -> None:
    size = {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        assert opened.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_prints(opened: Any) -> None:
    printed = opened.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    pdf = base64.b64decode(printed["data"])
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3


def test_a_segmentation_nets_classes_have_iou_and_pixels(browser: Any, tmp_path: Path) -> None:
    runs = dense_runs.write_runs(tmp_path / "work")
    path = write_report([dense_runs.make_suite(tmp_path)], runs, tmp_path / "report.html", warn=pytest.fail)
    browser.get(path.as_uri())
    figure = browser.execute_script(
        "const figure = document.querySelector('figure[data-figure=classes]');"
        "figure.querySelectorAll('details').forEach((details) => { details.open = true; });"
        "return new Promise((done) => setTimeout(() => done(figure.textContent), 50))"
    )
    of_each = ("IoU of each class in percent", "Training pixels", "Difference in IoU (points)", "Sky", "Rider")
    for words in (*of_each, "taken for", "true class's test pixels", "Training pixels, true / said"):
        assert words in figure
    assert not re.search(r"accurac|image|reliability", figure, re.IGNORECASE)
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def test_a_baseline_without_accuracies_of_its_classes(browser: Any, tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "work")
    for run_dir, record in runs:
        if record["row"] in ("mixup", "mixup_mislas"):
            (run_dir / "test_outputs.npz").unlink()
    written = write_report([make_suite(tmp_path)], runs, tmp_path / "report.html", warn=lambda _: None)
    browser.get(written.as_uri())
    assert browser.execute_script("return document.documentElement.dataset.ready") == ""
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def test_equally_frequent_classes_of_which_one_is_absent_from_the_test_images(browser: Any, tmp_path: Path) -> None:
    counts = [50] * 10
    for row, skill in (("mixup", 60.0), ("mixup_sar", 70.0)):
        write_run(tmp_path / "work", make_record("cifar100_lt", row, 1, skill, train_counts=counts))
        accuracies = ["" if label == 3 else skill + label for label in range(10)]
        lines = [f"{label},class {label},50,{value},{value}" for label, value in enumerate(accuracies)]
        text = "\n".join(["class,name,train_count,last_accuracy,best_accuracy", *lines]) + "\n"
        (tmp_path / "work/cifar100_lt" / row / "seed1/per_class.csv").write_text(text)
    runs = ledger.scan(tmp_path / "work")
    written = write_report([make_suite(tmp_path)], runs, tmp_path / "report.html", warn=lambda _: None)
    browser.get(written.as_uri())
    dots, width = browser.execute_script(
        "const figure = document.querySelector('figure[data-figure=classes]');"
        "figure.querySelectorAll('details').forEach((details) => { details.open = true; });"
        "return new Promise((done) => setTimeout(() => {"
        "  const dots = [...figure.querySelectorAll('svg circle')];"
        "  const box = dots[0].ownerSVGElement;"
        "  done([dots.filter((dot) => dot.ownerSVGElement === box).map((dot) => Number(dot.getAttribute('cx'))),"
        "        Number(box.getAttribute('width') || box.viewBox.baseVal.width)]);"
        "}, 100))"
    )
    assert len(dots) == 9
    assert max(dots) < width
