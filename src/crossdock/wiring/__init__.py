"""The composition root: the one place that names concrete classes, the real clock and real randomness."""

from crossdock.wiring.app import App as App
from crossdock.wiring.app import build as build
from crossdock.wiring.ground import Ground as Ground
from crossdock.wiring.ground import address_of as address_of
from crossdock.wiring.ground import clock as clock
from crossdock.wiring.ground import engine_of as engine_of
from crossdock.wiring.ground import examine_offline as examine_offline
from crossdock.wiring.ground import issue_token as issue_token
from crossdock.wiring.ground import new_correlation as new_correlation
from crossdock.wiring.ground import new_member as new_member
from crossdock.wiring.ground import offline as offline
from crossdock.wiring.ground import open_ground as open_ground
from crossdock.wiring.ground import operator as operator
from crossdock.wiring.ground import root_key_of as root_key_of
