"""``python -m tests.submit_job JOB KIT``: submit a job folder as the admin, wait for its end, print what came of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nvflare.fuel.flare_api.flare_api import new_secure_session

from tests.hospital_kits import ADMIN
from tests.waiting import END_SECONDS, until

DEPLOYMENT = "job_deploy_detail"
"""The key, in a job's metadata, of the answer of each host to the job's files."""


def main(job: str, kit: str) -> None:
    """Print JSON on the last line: the job's ``status``, its ``deployment``, and the ``folder`` of its result."""
    session = new_secure_session(ADMIN, kit)
    try:
        identity = session.submit_job(job)
        meta = session.wait_for_job(identity, timeout=END_SECONDS, poll_interval=0.5)
        until(lambda: DEPLOYMENT in session.get_job_meta(identity))  # the server writes it after the status
        meta = session.get_job_meta(identity)
        folder = session.download_job_result(identity, str(Path(job).with_name("results")))
    finally:
        session.close()
    print(json.dumps({"status": meta["status"], "deployment": meta[DEPLOYMENT], "folder": folder}))


if __name__ == "__main__":
    main(*sys.argv[1:])
