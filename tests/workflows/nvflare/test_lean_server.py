"""The server of a federation needs neither a foundation nor MONAI nor a bundle."""

from __future__ import annotations

import subprocess
import sys

from tests.waiting import END_SECONDS

NOT_NEEDED = ("open_clip", "segment_anything", "timm", "torchvision", "monai", "ignite", "nibabel", "pydicom")


def test_the_server_s_part_imports_without_foundations_and_readers() -> None:
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in NOT_NEEDED)
    code = (
        f"import sys; {blocked}"
        "from fedmed_workflows.nvflare.server.controller import FederationController; "
        "from fedmed_workflows.nvflare.server.rejoin import RejoiningSites; "
        "FederationController(); RejoiningSites()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=END_SECONDS)
