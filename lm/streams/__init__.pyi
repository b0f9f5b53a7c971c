from .open_stream import open_stream as open_stream
from .protocol import DecodingStream as DecodingStream
from .protocol import PromptOutput as PromptOutput
from .protocol import StreamOutput as StreamOutput
