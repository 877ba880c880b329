@0xd5b0e1c27a3f4c61;
# The socket of the process that owns a profile, for the other processes of the same user: RPC over a Unix socket.
#
# Requests, events and failures travel as JSON text. An event is the line of the JSON contract itself, and a request
# is the same data in the other direction; Cap'n Proto gives the calls, their flow control and their end. See
# docs/src/adr/0011-control-socket.md.

interface Owner {
  # `lasting`: this client stays until somebody ends it, so nobody has to wait for it.
  # A client goes on only when `version` and `build` are its own.
  info @0 (lasting :Bool) -> (version :UInt32, build :Text, pid :UInt32, profile :Text, kind :Kind);

  # One request, from start to end. `failure` is empty when it was done. Dropping the call ends the request.
  run @1 (request :Text, sink :Sink) -> (failure :Text);

  # Asks for the profile. `releasing` is false when this owner keeps it; else it has let go within 2 s.
  release @2 () -> (releasing :Bool);

  enum Kind { chat @0; daemon @1; brief @2; }
}

# Where the events of one request go.
interface Sink {
  # Answered when the events are out of our hands. Those after the first `taken` were not taken, and no more will be.
  events @0 (events :List(Text)) -> (taken :UInt32);

  # Answered when no more events are wanted. The request then finishes its step and ends.
  closed @1 () -> ();
}
