"""The function that answers over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_lambda as lambda_

from infra.worker_function import WorkerFunction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aws_cdk import aws_logs as logs
    from constructs import Construct

    from infra.worker_image import WorkerImage

# Twice what one option may take, since a new environment loads its kernels first.
TIMEOUT_S = 60


class WebFunction(WorkerFunction):
    """Answers at a URL of its own, for whom AWS lets call it: requests are signed (SigV4).

    Who else may, needs `lambda:InvokeFunctionUrl` and `lambda:InvokeFunction` on it. Another site's
    page gets nothing: no origin is allowed.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        image: WorkerImage,
        architecture: str,
        environment: Mapping[str, str],
        log_group: logs.LogGroup,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            handler="pricer.web.lambda_handler.handler",
            image=image,
            architecture=architecture,
            environment=environment,
            log_group=log_group,
            timeout_s=TIMEOUT_S,
        )
        self.url = self.function.add_function_url(auth_type=lambda_.FunctionUrlAuthType.AWS_IAM)
