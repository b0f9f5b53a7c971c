from .control_codes import ControlCodeConfig as ControlCodeConfig
from .control_codes import ControlCodes as ControlCodes
from .documents import (
    TokenStream as TokenStream,
)
from .documents import (
    TokenWindows as TokenWindows,
)
from .documents import (
    cached_token_stream as cached_token_stream,
)
from .documents import (
    read_documents as read_documents,
)
from .documents import (
    tokenize_documents as tokenize_documents,
)
