"""A real Label Studio and a real `maskloop serve`, each started once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from e2e.scene import CHEAP, CONFIG, Login, Project, Server
from maskloop.demo.checkout import Checkout
from maskloop.demo.child import free_port
from maskloop.demo.label_studio import LabelStudio, label_studio_running
from maskloop.demo.stack import maskloop_running

Serve = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session", autouse=True)
def _leave_nothing_behind() -> None:
    """SIGTERM ends the session through its fixtures."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", 143))


@pytest.fixture(scope="session")
def login() -> Login:
    return Login()


@pytest.fixture(scope="session")
def label_studio(login: Login, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    """Label Studio, logged in."""
    environment = Checkout.of_this_code().label_studio_environment
    if not (environment / "installed").is_file():
        pytest.skip("Label Studio isn't installed here: make label-studio")
    command, data = environment / "bin" / "label-studio", tmp_path_factory.mktemp("label-studio")
    tokens = {"LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true", "LABEL_STUDIO_USER_TOKEN": login.legacy_token}
    user = {"email": login.email, "password": login.password}
    with (
        label_studio_running(command, data, free_port(), **user, more=tokens) as (_, url),
        LabelStudio(url, **user) as label_studio,
    ):
        yield label_studio


@pytest.fixture(scope="session")
def token(label_studio: LabelStudio) -> str:
    """A personal access token: the only one, since Label Studio revokes one when another is made."""
    return label_studio.new_token()


@pytest.fixture(scope="session")
def serve(
    label_studio: LabelStudio,
    official_weights: Path,
    share_engines: Callable[[Path], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Serve:
    """``with serve(token, batch_deadline=5) as server`` runs a server of its own, with these settings."""

    @contextmanager
    def start(token: str, **settings: object) -> Iterator[Server]:
        data = tmp_path_factory.mktemp("maskloop")
        share_engines(data)
        settings = {"train_workers": 0, "click_deadline": 60, **settings}
        with maskloop_running(data, free_port(), label_studio=label_studio.url, token=token, **settings) as (_, url):
            yield Server(url, data)

    return start


@pytest.fixture(scope="session")
def maskloop_server(serve: Serve, token: str) -> Iterator[Server]:
    """One with a personal access token."""
    with serve(token) as server:
        yield server


@pytest.fixture
def connected(label_studio: LabelStudio) -> Iterator[Callable[..., Project]]:
    """``connected(server, images)`` makes a project with a task for each image: a file to upload, or an address.

    Label Studio begins annotations empty there, whatever is predicted.
    """
    made: list[int] = []

    def connect(server: Server, images: Sequence[str | Path], config: str = CONFIG) -> Project:
        project = label_studio.create_project("end to end", config)
        made.append(project)
        label_studio.update_project(project, show_collab_predictions=False)
        if files := [(image.name, image.read_bytes()) for image in images if isinstance(image, Path)]:
            label_studio.upload(project, files)
        if urls := [{"image": image} for image in images if isinstance(image, str)]:
            label_studio.import_tasks(project, urls)
        connection = label_studio.connect(project, server.url, CHEAP)
        return Project(label_studio, project, int(connection["id"]), str(connection["model_version"]))

    yield connect
    for project in made:
        label_studio.delete_project(project)
