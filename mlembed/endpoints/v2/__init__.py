"""The Open Inference Protocol v2 over HTTP, with its binary tensors, so that its clients work.

https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations
