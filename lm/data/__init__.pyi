from .control_codes import ControlCodeConfig as ControlCodeConfig, ControlCodes as ControlCodes
from .documents import (
    TokenStream as TokenStream,
    TokenWindows as TokenWindows,
    cached_token_stream as cached_token_stream,
    read_documents as read_documents,
    tokenize_documents as tokenize_documents,
)
