"""Compiles readings.py, without and with what is newer, by the Python that runs this."""
import py_compile
import re
import sys
from pathlib import Path

here = Path(__file__).parent
newer = (here / "readings.py").read_text()
older = re.sub(r"(?ms)^# newer$.*?^# end$\n", "", newer)
for name, text in (("old", older), ("new", newer)):
    source = here / "part.py"
    source.write_text(text)
    made = here / "{}.{}.{}.pyc".format(*sys.version_info[:2], name)
    py_compile.compile(str(source), str(made), dfile="readings.py", doraise=True,
                       invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    source.unlink()
