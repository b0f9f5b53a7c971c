from .events import EventLog as EventLog, read_events as read_events
from .progress import Progress as Progress
from .record import RunRecord as RunRecord, read_record as read_record
from .stop import RunCancelledError as RunCancelledError, StopRequest as StopRequest
