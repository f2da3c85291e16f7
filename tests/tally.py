"""The smallest job: a controller asks every site for a number and writes their sum; an executor answers."""

from __future__ import annotations

import json
import os
from pathlib import Path

from nvflare.apis.client import Client
from nvflare.apis.controller_spec import ClientTask, Task
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from tests.waiting import END_SECONDS


class Count(Controller):
    """Asks each site once, and leaves ``tally.json`` in the run's folder: each site's number and their sum."""

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Nothing has answered yet."""
        self.numbers: dict[str, int] = {}

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """One round."""
        task = Task(name="tally", data=Shareable(), timeout=int(END_SECONDS), result_received_cb=self._received)
        self.broadcast_and_wait(task, fl_ctx, min_responses=0, abort_signal=abort_signal)
        folder = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT).get_run_dir(fl_ctx.get_job_id())
        (Path(folder) / "tally.json").write_text(json.dumps({**self.numbers, "sum": sum(self.numbers.values())}))

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to close."""

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """Answers that come too late do not count."""

    def _received(self, client_task: ClientTask, fl_ctx: FLContext) -> None:
        self.numbers[client_task.client.name] = client_task.result["number"]


class Answer(Executor):
    """Answers with the number in the site's environment variable ``TALLY``."""

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """One answer."""
        answer = Shareable()
        answer["number"] = int(os.environ["TALLY"])
        return answer


class Unlisted(Answer):
    """An `Answer` that no site has on its list."""
