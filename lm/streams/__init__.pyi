from .opening import open_stream as open_stream
from .protocol import DecodingStream as DecodingStream, PromptOutput as PromptOutput, StreamOutput as StreamOutput
