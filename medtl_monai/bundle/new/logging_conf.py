"""The logging of a bundle's runs."""

from __future__ import annotations

LOGGING = """[loggers]
keys=root,nvimgcodec

[handlers]
keys=consoleHandler

[formatters]
keys=fullFormatter

[logger_root]
level=INFO
handlers=consoleHandler

[logger_nvimgcodec]
level=ERROR
handlers=
qualname=monai.data.nvimgcodec_pydicom_plugin

[handler_consoleHandler]
class=StreamHandler
level=INFO
formatter=fullFormatter
args=(sys.stdout,)

[formatter_fullFormatter]
format=%(asctime)s - %(name)s - %(levelname)s - %(message)s
"""
