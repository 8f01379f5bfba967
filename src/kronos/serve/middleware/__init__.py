"""Pure-ASGI middleware, one class per concern; `kronos.serve.app` stacks them in this order, the outermost first.

| middleware | concern |
|---|---|
| `ProxyMiddleware` | client and path prefix behind a reverse proxy, if one is configured |
| `AccessLogMiddleware` | request ids, access log, request metrics |
| `SecurityHeadersMiddleware` | headers that restrict what browsers do with a response |
| `UnreadBodyMiddleware` | close the connection when a request body was not read |
| `HostOriginMiddleware` | Host and Origin of the request |
| `CORSMiddleware` | CORS headers and preflight requests of allowed origins |
| `ErrorMiddleware` | error responses |
| `APIKeyMiddleware` | API keys |
| `RateLimitMiddleware` | requests per client and in progress |
| `BodyLimitMiddleware` | size and duration of request bodies |
| `UploadLimitMiddleware` | uploads in progress per client |
| `CachedPredictionMiddleware` | cached predictions, served without routing |
| `HeadMiddleware` | HEAD requests |
"""

from kronos.serve.middleware.access_log import AccessLogMiddleware
from kronos.serve.middleware.auth import APIKeyMiddleware, APIKeys, HostOriginMiddleware
from kronos.serve.middleware.base import ErrorMiddleware, HTTPMiddleware
from kronos.serve.middleware.body import BodyLimitMiddleware, BodyLimits, UnreadBodyMiddleware
from kronos.serve.middleware.cached_predictions import CachedPredictionMiddleware
from kronos.serve.middleware.headers import SECURITY_HEADERS, CORSMiddleware, HeadMiddleware, SecurityHeadersMiddleware
from kronos.serve.middleware.proxies import ProxyMiddleware
from kronos.serve.middleware.rate_limit import RateLimitMiddleware, TokenBucket, UploadLimitMiddleware

__all__ = [
    "SECURITY_HEADERS",
    "APIKeyMiddleware",
    "APIKeys",
    "AccessLogMiddleware",
    "BodyLimitMiddleware",
    "BodyLimits",
    "CORSMiddleware",
    "CachedPredictionMiddleware",
    "ErrorMiddleware",
    "HTTPMiddleware",
    "HeadMiddleware",
    "HostOriginMiddleware",
    "ProxyMiddleware",
    "RateLimitMiddleware",
    "SecurityHeadersMiddleware",
    "TokenBucket",
    "UnreadBodyMiddleware",
    "UploadLimitMiddleware",
]
