"""Where the interpreter starts; a main script is compiled at each start, so everything else is in `lib`."""

import os
import sys

sys.path.insert(0, os.path.join(os.environ["CNB_BUILDPACK_DIR"], "lib"))

from live_reload_buildpack.build import build

from packrunner.sdk.build import main

main(build)
