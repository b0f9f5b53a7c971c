from .events import EventLog as EventLog
from .events import read_events as read_events
from .progress import Progress as Progress
from .stop import RunCancelledError as RunCancelledError
from .stop import StopRequest as StopRequest
