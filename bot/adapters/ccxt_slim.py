"""ccxt's KuCoin class without the hundred exchanges that `import ccxt` runs. Its packages run when
somebody asks them for more (`ccxt.binance`), in place: so every class exists once only.
"""

import sys
from importlib import import_module, reload, util
from typing import Any

from bot.core.errors import BotError

VERSION = "4.5.90"  # as in requirements/host.in: the wire behaviour that was tested


def kucoin_class(*, slim: bool = True) -> type:
    """Return ccxt.pro.kucoinfutures; the first import of ccxt in a process decides what is run."""
    find = _unrun if slim and "ccxt" not in sys.modules else import_module
    ccxt, rest, pro = map(find, ("ccxt", "ccxt.async_support", "ccxt.pro"))
    base, errors = import_module("ccxt.base.exchange"), import_module("ccxt.base.errors")
    if base.__version__ != VERSION:
        raise BotError(f"expected ccxt {VERSION}, was {base.__version__}: run `make setup`")
    names = {name: vars(errors)[name] for name in errors.__all__}  # KuCoin's modules take these
    vars(ccxt).update(names, Exchange=base.Exchange, async_support=rest, pro=pro)
    vars(rest).update(kucoin=import_module("ccxt.async_support.kucoin").kucoin)
    found: type = import_module("ccxt.pro.kucoinfutures").kucoinfutures
    vars(pro).update(kucoin=found.__base__, kucoinfutures=found)
    return found


def _unrun(name: str) -> Any:
    spec: Any = util.find_spec(name)
    sys.modules[name] = package = util.module_from_spec(spec)

    def run(wanted: str) -> Any:
        if wanted[:2] == "__" and wanted not in ("__all__", "__version__"):  # an inspection
            raise AttributeError(f"module {name} has no attribute {wanted}")
        vars(package).pop("__getattr__")
        return getattr(reload(package), wanted)

    vars(package)["__getattr__"] = run
    return package
