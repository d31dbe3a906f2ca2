"""A real browser without a window, and the pages of a small real run of each arm."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

MODELS = ("--model", "control,mean-shift,similarity-shift,scgen", "--no-baselines", "--seed", "1,2")
SMALL = ("--set", "scgen.max_epochs=1", "--set", "scgen.n_hidden=8", "--bootstrap", "0")
KEYS = ("--context-key", "kind", "--perturbation-key", "condition", "--control", "ctrl", "--scale", "counts")
UNITS = ("--hold-out", "beta", "--hold-out", "gamma")


def write_cells(path: Path) -> None:
    """Write Poisson counts in three contexts, of which ten genes respond."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(1.0, 2.0, size=60) + 0.2
    fold = np.where(np.arange(60) < 10, 4.0, 1.0)
    kinds, parts = ("alpha", "beta", "gamma"), {"ctrl": rates, "stim": rates * fold}
    counts = [
        rng.poisson(rate * rng.gamma(4.0, 0.25, size=60), size=(30, 60)) for _ in kinds for rate in parts.values()
    ]
    obs = pd.DataFrame(
        [(kind, part) for kind in kinds for part in parts for _ in range(30)], columns=["kind", "condition"]
    )
    obs.index = "cell" + obs.index.astype(str)
    cells = ad.AnnData(sparse.csr_matrix(np.vstack(counts).astype(np.float32)), obs=obs.astype("category"))
    cells.var_names = [f"gene{i}" for i in range(60)]
    cells.write_h5ad(path)


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report, made as a user makes one."""
    run = tmp_path_factory.mktemp("reported") / "small"
    write_cells(run.with_name("cells.h5ad"))
    pb = (sys.executable, "-m", "pb_cli")
    data = ("--data", run.with_name("cells.h5ad"), *KEYS, *UNITS)
    subprocess.run([*pb, "bench", *data, *MODELS, *SMALL, "--no-save-models", "--out", run, "--quiet"], check=True)
    subprocess.run([*pb, "report", run, "--quiet"], check=True)
    return run / "report.html"


@pytest.fixture(scope="session")
def labels_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of predicted labels."""
    run = tmp_path_factory.mktemp("reported") / "labels"
    pb = (sys.executable, "-m", "pb_cli")
    asked = ("--task", "regression", "--dataset", "concrete", "--loss", "mae,far", "--epochs", "2", "--folds", "3")
    subprocess.run([*pb, "bench", *asked, "--lr", "0.01", "--out", run, "--quiet"], check=True)
    subprocess.run([*pb, "report", run, "--quiet"], check=True)
    return run / "report.html"


@pytest.fixture(scope="session")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    """One browser for all tests; it may reach no network."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    profile = tmp_path_factory.mktemp("profile")
    flags = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
    flags += ["--proxy-server=127.0.0.1:9", "--hide-scrollbars"]
    flags += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    for flag in flags:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def opened(chrome: "Chrome", request: pytest.FixtureRequest) -> Callable[..., "Chrome"]:
    """Open a page afresh: how wide, in which scheme, with or without its script."""
    page: Path = request.getfixturevalue(getattr(request, "param", "page"))

    def open_page(width: int = 1280, scheme: str = "light", *, script: bool = True) -> "Chrome":
        size: dict[str, Any] = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [feature]})
        chrome.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})
        chrome.get_log("browser")
        chrome.get("about:blank")
        chrome.get(page.as_uri())
        return chrome

    return open_page
