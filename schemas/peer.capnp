@0xc4d1f0a6b5e37a02;
# Frames between two peers, on the one bidirectional stream of their link (docs/src/protocol).
#
# One frame = one message in the standard Cap'n Proto stream framing with exactly ONE segment:
#   u32 0 | u32 words | words * 8 bytes        little-endian; words <= 34_816; nesting <= 16
# so that a captured frame can be piped into `capnp decode`.
#
# Lengths in bytes: PeerId 32, GroupId 16, EpochId 16, CommitId 32, MemberId 16, StreamId 8,
# MessageId 16 (ULID layout), signature 64 (Ed25519).
#
# A signature covers: label | 0x00 | for each part its length (u64, big-endian) and the part. What the parts are
# stands at the structs that are signed; integers in them are u64, big-endian.

struct Frame {
  union {
    hello          @0  :Hello;
    bye            @1  :Reason;
    ping           @2  :UInt64;
    pong           @3  :UInt64;
    pairStart      @4  :PairStart;
    pairReply      @5  :PairReply;
    pairProof      @6  :PairProof;
    contactRequest @7  :ContactRequest;
    contactAccept       @8  :ContactAccept;
    pairRefused    @9  :Refusal;
    app            @10 :App;
    appAck         @11 :AppAck;
    head           @12 :Head;
    contactRefuse  @13 :Void;
    contactKept    @14 :ContactKept;
    card           @15 :CardUpdate;
    want           @16 :Want;
    notMember      @17 :NotMember;
    welcome        @18 :Welcome;
  }
}

# First frame in both directions; nothing else is read before it.
struct Hello {
  versionMin @0 :UInt16;
  versionMax @1 :UInt16;
  features   @2 :UInt64;   # none defined yet: 0; unknown bits are ignored
  session    @3 :Data;     # 8 random bytes per process start: tells a restart from a second dial
  purpose    @4 :Purpose;
}
enum Purpose { peer @0; pair @1; }
enum Reason { replaced @0; shutdown @1; protocol @2; }

# ---- first contact: start, reply, proof, proof, request; then accept (by code at once), or kept and later
# accept or refuse (by link, when a person has decided) ----
struct PairStart {
  nameplate @0 :UInt16;          # by code; 0 by link
  spake     @1 :Data;            # by code: SPAKE2 (Ed25519 group) message of the joiner, 33 bytes; empty by link
  link      @2 :Data;            # by link: which invite, 8 bytes; empty by code
}
struct PairReply { spake @0 :Data; }                         # by code: of the inviter, 33 bytes; empty by link
struct PairProof { mac @0 :Data; }                           # HMAC-SHA-256, 32 bytes; the joiner's first
struct ContactRequest {
  identity    @0 :Data;          # PeerId of the joiner
  name        @1 :Text;          # display name, <= 64 bytes
  card        @2 :SignedCard;
  keyPackages @3 :List(Data);    # MLSMessage(KeyPackage), 1..2; the first is used
  proof       @4 :Data;          # by link: HMAC-SHA-256, 32 bytes; empty by code
}
struct ContactAccept {
  name     @0 :Text;             # display name of the inviter
  card     @1 :SignedCard;
  groupId  @2 :Data;
  commitId @3 :Data;             # of the Commit that added the joiner
  welcome  @4 :Data;             # MLSMessage(Welcome)
}
# The inviter has the request on its disk; a person decides.
struct ContactKept { name @0 :Text; }                        # display name of the inviter
enum Refusal { noInvite @0; wrongCode @1; used @2; expired @3; cancelled @4; blocked @5; busy @6; invalid @7; }

# How to reach a member. Signed with the label "qpq card v1" over one part: body, byte for byte.
struct SignedCard { body @0 :Data; signature @1 :Data; }     # body = one Card message, stream framing
struct Card {
  member     @0 :Data;           # PeerId of the owner
  audience   @1 :Data;           # PeerId of the contact that it is for
  version    @2 :UInt64;         # the higher one replaces the lower
  endpointId @3 :Data;           # iroh EndpointId, 32 bytes; no code may assume that it equals `member`
  lanKey     @4 :Data;           # 32 bytes: recognises the owner's mDNS token
}

# The sender's own card for this contact, and which of theirs it has: a card rides until it was seen.
struct CardUpdate {
  card @0 :SignedCard;           # absent where `seen` is all there is to say
  seen @1 :UInt64;               # version of the receiver's card that the sender has
}

# ---- groups ----
struct App {
  groupId   @0 :Data;
  epochId   @1 :Data;
  epoch     @2 :UInt64;          # a hint only: epochs are named by EpochId
  member    @3 :Data;            # the author
  stream    @4 :Data;            # authenticated_data of `mls`: stream 8 | seq 8, big-endian | messageId 16
  seq       @5 :UInt64;          # from 1, below 2^63
  messageId @6 :Data;
  mls       @7 :Data;            # MLSMessage(PrivateMessage) around content.capnp Content
}
# Which messages of one stream `member` has on its disk. Signed with the label "qpq appack v1" over one part:
#   groupId 16 | member 16 | stream
# where a stream is: member 16 | stream 8 | number of ranges 8 | for each range: first 8 | last 8
struct AppAck { groupId @0 :Data; member @1 :Data; stream @2 :StreamRanges; signature @3 :Data; }
# Where `member` stands. Signed with the label "qpq head v1" over one part, which leaves `epoch` out:
#   groupId 16 | epochId 16 | member 16 | streams, one after the other, as above
# and, where `opened` is not empty, over a second one: for each of them member 16 | count 8
struct Head {
  groupId   @0 :Data;
  epochId   @1 :Data;
  epoch     @2 :UInt64;
  member    @3 :Data;
  streams   @4 :List(StreamRanges);   # what this member has of every stream it knows, its own included; <= 512
  signature @5 :Data;
  opened    @6 :List(Opened);         # only of members whose messages say `sealed`; <= 512
}
# The highest `sealed` (content.capnp) of the messages of `member` in this epoch that were opened: a repair moves it, and
# no seq does.
struct Opened { member @0 :Data; count @1 :UInt64; }
# The sender lacks these messages of the receiver's stream, or cannot read them: they are encrypted once more, with
# the same stream, seq and messageId, as long as this group is the one they were written for.
struct Want { groupId @0 :Data; stream @1 :StreamRanges; }
# The sender has no state of this group, so it can never read what is sent there. Signed with the label
# "qpq notmember v1" over one part: groupId 16 | member 16 | SHA-256(keyPackage)
struct NotMember {
  groupId    @0 :Data;
  member     @1 :Data;
  keyPackage @2 :Data;           # MLSMessage(KeyPackage) for the group that takes its place
  signature  @3 :Data;
}
# A new group of two takes the place of the one that is lost. Made by the smaller PeerId, for the KeyPackage of a NotMember.
struct Welcome {
  groupId  @0 :Data;
  commitId @1 :Data;             # of the Commit that added the receiver
  welcome  @2 :Data;             # MLSMessage(Welcome)
}
struct StreamRanges { member @0 :Data; stream @1 :Data; ranges @2 :List(Range); }   # ascending, disjoint, <= 64
struct Range { first @0 :UInt64; last @1 :UInt64; }                                 # both inclusive; from 1
