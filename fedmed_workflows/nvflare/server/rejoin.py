"""A component of the server's own NVFlare configuration that starts running jobs again at a site that returns."""

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

    NVFlare starts a job once, at the sites that are connected at that time. A site that was away, or that was restarted
    and has a new token, would not take part in the job again. At the first heartbeat of such a site, this component
    deploys and starts the job there, as NVFlare did at the start of the job. The site checks its own policies again.

    List the component in the server's ``local/resources.json``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Checks at every heartbeat whether the site is part of a running job and has a new token."""
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
        """Returns whether a site of the job has an unknown token, and adds the token to the job."""
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
        except Exception:  # nothing else reports the error of a thread
            self.logger.exception(f"job {job_id} could not be started again at site {client.name}")

    def _deploy(self, engine: Any, job: Any, app: str | None, client: Any, fl_ctx: FLContext) -> None:
        message = engine.job_runner._make_deploy_message(job, job.get_application(app, fl_ctx), app, fl_ctx)
        admin = engine.server.admin_server
        replies = admin.send_requests_and_get_reply_dict({client.token: message}, timeout_secs=admin.timeout)
        if replies.get(client.token) is None:
            raise RuntimeError(f"site {client.name} did not take the job's app {app}")


def _app_of(job: Any, site: str) -> str | None:
    """Returns the app that a job deploys at a site, or None if the site is not part of the job."""
    for app, participants in job.get_deployment().items():
        names = extract_participants(participants)
        if site in names or "@ALL" in [name.upper() for name in names]:
            return str(app)
    return None
