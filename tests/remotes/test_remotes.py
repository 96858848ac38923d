"""Every kind of remote, with a real server: pinned to, pulled from, and what fails."""

from conftest import PAPER, Clone
from remotes.servers import Lab


def test_what_is_pinned_to_a_remote_is_pulled_in_a_fresh_clone(
    lab: Lab, author: Clone, reader: Clone
) -> None:
    reader.done("dvc", "pull", "--quiet")
    assert reader.artifacts() == author.artifacts()
