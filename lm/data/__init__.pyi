from .control_code_config import ControlCodeConfig as ControlCodeConfig
from .control_codes import ControlCodes as ControlCodes
from .documents import (
    TokenStream as TokenStream,
    TokenWindows as TokenWindows,
    cached_token_stream as cached_token_stream,
    read_documents as read_documents,
    tokenize_documents as tokenize_documents,
)
