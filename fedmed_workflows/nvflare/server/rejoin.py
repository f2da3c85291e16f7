"""Part of the server's own NVFlare configuration: a site that comes back gets the running jobs that it was part of."""

from __future__ import annotations

import threading
from typing import Any

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import RunProcessKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.job_scheduler_spec import DispatchInfo
from nvflare.private.fed.utils.fed_utils import extract_participants


class RejoiningSites(FLComponent):  # type: ignore[misc]
    """Deploys and starts running jobs at a site that registers again.

    NVFlare starts a job once, at the sites that are connected then. A site that was away, or was restarted as a whole
    and has a new token, would be left out of the job to its end. This component sees the site's first heartbeat and
    does for the one site what NVFlare did for all at the job's start; the site's own policies are checked again there.

    It stands among the components of the server's ``local/resources.json``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Looks at every heartbeat whether its sender is new to a job that its name is part of."""
        if event_type != EventType.CLIENT_HEARTBEAT_PROCESSED:
            return
        engine = fl_ctx.get_engine()
        client = engine.get_client_from_name(fl_ctx.get_peer_context().get_identity_name())
        if client is None:
            return
        for job_id, process in list(engine.run_processes.items()):
            job = engine.job_runner.running_jobs.get(job_id)
            if job is not None and self._is_new(job, process[RunProcessKey.PARTICIPANTS], client):
                threading.Thread(target=self._start, args=(engine, job_id, job, client), daemon=True).start()

    def _is_new(self, job: Any, members: dict[str, Any], client: Any) -> bool:
        """Whether a site of the job has a token that the job does not know; the job knows it from now on."""
        with self._lock:
            if client.token in members or _app_of(job, client.name) is None:
                return False
            for token in [token for token, member in members.items() if member.name == client.name]:
                del members[token]
            members[client.token] = client
        return True

    def _start(self, engine: Any, job_id: str, job: Any, client: Any) -> None:
        try:
            with engine.new_context() as fl_ctx:
                app = _app_of(job, client.name)
                self._deploy(engine, job, app, client, fl_ctx)
                _, reserved = engine.check_client_resources(job, {client.name: {}}, fl_ctx)[client.name]
                dispatched = DispatchInfo(app_name=app, resource_requirements={}, token=reserved)
                engine.start_client_job(job, {client.name: dispatched}, fl_ctx)
                self.logger.info(f"job {job_id} is started again at site {client.name}")
        except Exception:  # a thread's error is nobody else's to report
            self.logger.exception(f"job {job_id} could not be started again at site {client.name}")

    def _deploy(self, engine: Any, job: Any, app: str | None, client: Any, fl_ctx: FLContext) -> None:
        message = engine.job_runner._make_deploy_message(job, job.get_application(app, fl_ctx), app, fl_ctx)
        admin = engine.server.admin_server
        replies = admin.send_requests_and_get_reply_dict({client.token: message}, timeout_secs=admin.timeout)
        if replies.get(client.token) is None:
            raise RuntimeError(f"site {client.name} did not take the job's app {app}")


def _app_of(job: Any, site: str) -> str | None:
    """The app that a job deploys at a site, or None if the site is not part of it."""
    for app, participants in job.get_deployment().items():
        names = extract_participants(participants)
        if site in names or "@ALL" in [name.upper() for name in names]:
            return str(app)
    return None
