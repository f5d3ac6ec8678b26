//! Every bound of the program, in one place, with the relations that must hold between them.

/// Causes of halts that are told apart.
pub const HALTS_MAX: usize = 64;
/// Longest name in bytes, as Linux has it.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest path below the root in bytes that travels.
pub const PATH_BYTES_MAX: usize = 64 * 1024;

/// Bytes of names and values of the extended attributes of one object.
pub const XATTR_BYTES_MAX: usize = 256 * 1024;
/// Content up to this many bytes may travel in the live lane; more goes as a transfer (law 5).
pub const LIVE_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of one block of the hash of a content: what travels whole has its plain hash.
pub const CONTENT_BLOCK: u64 = LIVE_BYTES_MAX;
/// Bytes of one chunk of a transfer.
pub const CHUNK_BYTES: u64 = 512 * 1024;
/// Least bytes of a block of a signature.
pub const SIGNATURE_BLOCK_MIN: u64 = 1024;
/// Most bytes of a block, as long as that makes no more than `SIGNATURE_BLOCKS_MAX` of them.
pub const SIGNATURE_BLOCK_USUAL: u64 = 128 * 1024;
/// Most bytes of a block: a larger content has no signature.
pub const SIGNATURE_BLOCK_MAX: u64 = 1024 * 1024;
/// Blocks of one signature.
pub const SIGNATURE_BLOCKS_MAX: u64 = 1 << 20;
/// Blocks of a signature that travels, if that makes none larger than `SIGNATURE_BLOCK_MAX`.
pub const TOLD_BLOCKS_USUAL: u64 = 16 * 1024;
/// Blocks of a signature that travels: beyond it there is none.
pub const TOLD_BLOCKS_MAX: u64 = 40_000;
/// Bytes searched in vain for what has moved in a file, before the search is given up.
pub const SEARCH_BYTES_MAX: u64 = 64 << 20;
/// Blocks with the same weak sum, before and behind a place, that a search looks at.
pub const SEARCH_TWINS_MAX: usize = 32;
/// Pieces of a delta in one message, about.
pub const PIECES_MAX: usize = 4_096;
/// Bytes of a large file that are compared in one look, and put together for one message.
pub const DELTA_SPAN_MAX: u64 = 16 * 1024 * 1024;
/// Content from this many bytes on gets a signature when it is first sent; a smaller one only once
/// it is sent in place of another.
pub const SIGNED_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// Signatures kept for one sink.
pub const SIGNATURES_MAX: usize = 32 * 1024;
/// Bytes of all of them.
pub const SIGNATURES_BYTES_MAX: u64 = 4 << 30;
/// Content in one message of small files.
pub const BATCH_BYTES_MAX: u64 = 512 * 1024;
/// Operations in one message.
pub const BATCH_OPS_MAX: usize = 256;
/// Entries in one part of a listing.
pub const LISTING_ENTRIES_MAX: usize = 512;
/// Bytes of names and targets in one part of a listing, about.
pub const LISTING_BYTES_MAX: usize = 128 * 1024;
/// Entries of a timetable, each day counted: one for each quarter of an hour of a week.
pub const TIMETABLE_SLOTS_MAX: usize = 7 * 24 * 4;
/// Names that one answer gives of a directory which is not empty.
pub const REMAINS_MAX: usize = 512;
/// How deeply files of rules may name each other.
pub const RULE_FILES_DEPTH_MAX: usize = 16;
/// Names that one answer gives of what the sink has beyond a listing.
pub const EXTRAS_MAX: usize = 2048;

/// Credit in the live lane, in bytes.
pub const LIVE_CREDIT_BYTES: u64 = 2 * 1024 * 1024;
/// Credit in the live lane, in messages.
pub const LIVE_CREDIT_MESSAGES: u32 = 64;
/// Credit in the backlog lane, in bytes.
pub const BACKLOG_CREDIT_BYTES: u64 = 8 * 1024 * 1024;
/// Credit in the backlog lane, in messages.
pub const BACKLOG_CREDIT_MESSAGES: u32 = 256;
/// High-water mark of the data sockets: above the credit, so that `send` never blocks on it.
pub const DATA_HWM: i32 = 600;
/// Largest frame that either side accepts.
pub const FRAME_BYTES_MAX: i64 = 4 * 1024 * 1024;

/// Bytes of names in the answer to one message, of what remains and of what was made each.
pub const ANSWER_BYTES_MAX: usize = 512 * 1024;
/// Bytes of answers after which a report leaves.
pub const REPORT_BYTES_MAX: usize = 1024 * 1024;
/// Answers after which a report leaves.
pub const REPORT_ANSWERS_MAX: usize = 64;

/// Unanswered parts of listings for one sink: most are small, and an answer takes its time to come.
pub const LISTING_PARTS_MAX: usize = 256;
/// Entries in unanswered parts of listings for one sink.
pub const LISTED_MAX: usize = 32 * LISTING_ENTRIES_MAX;
/// Directories that are being read at once for one sink.
pub const LISTINGS_OPEN_MAX: usize = 16;
/// Transfers of large files at once for one sink.
pub const TRANSFERS_MAX: usize = 4;
/// The clock of a filesystem may stand still for so long.
pub const CLOCK_GRANULE_MS: u64 = 10;
/// A look at the source that is not over after this long is given up, and what it was for is a
/// problem.
pub const LOOK_MS: u64 = 30_000;
/// The same for one that reads a whole file to tell its hash.
pub const HASH_LOOK_MS: u64 = 60 * 60 * 1_000;
/// A worker that is at one look for longer than this is taken to hang: another takes its place.
pub const HUNG_MS: u64 = 10_000;
/// Workers that look at the disk for the backlog at once, at most.
pub const LOOKERS_MAX: usize = 32;
/// Workers that hang and were replaced, at most.
pub const HUNG_WORKERS_MAX: usize = 32;
/// Looks under way at once for one sink.
pub const LOOKS_MAX: usize = 64;
/// Directories being armed at once.
pub const ARMS_MAX: usize = 64;
/// Marks on single names for one sink; beyond it they fold into directories.
pub const MARKS_MAX: usize = 100_000;
/// Marked names of one directory; beyond it they fold into that directory.
pub const MARKS_PER_DIR_MAX: usize = 4_096;
/// Renames held for one sink; one more, and all of them become marks.
pub const RENAMES_MAX: usize = 256;
/// First halves of renames held back for their second half.
pub const HALVES_MAX: usize = 1_024;
/// Names removed within an hour that are told from each other; beyond it each removal counts.
pub const GONE_NAMES_MAX: usize = 100_000;
/// Removals of whole directories under way at once for one sink.
pub const REMOVALS_MAX: usize = 64;
/// Wanted names beyond which no more directories are listed.
pub const WANTS_MAX: usize = 16 * 1024;
/// Names of files that the arming of a fresh directory brings at once, so that they go live.
pub const FRESH_FILES_MAX: usize = 256;
/// Milliseconds after which a session that has work and does not move is said to stand still.
pub const STALL_MS: u64 = 10_000;
/// Sweeps after which a termination phase gives up: the source goes on changing.
pub const SWEEPS_MAX: u32 = 10;
/// Handshakes that must be cut short one after the other before the key is blamed: a source that
/// is just being restarted cuts one short as well.
pub const CUT_SHORT_MAX: u32 = 3;
/// Characters of a sink's own host name that are kept.
pub const HOST_CHARS_MAX: usize = 255;
/// Problems kept by path; beyond it they are only counted.
pub const PROBLEMS_MAX: usize = 10_000;
/// Foreign names kept by path; beyond it they are only counted.
pub const FOREIGN_MAX: usize = 10_000;

/// Problem lines, foreign and hot names that travel with a final report, each.
pub const REPORT_LINES_MAX: usize = 5_000;

/// Messages waiting for an applier, for each lane.
pub const APPLY_QUEUE: usize = 256;
/// Answers waiting for the reporter.
pub const ANSWER_QUEUE: usize = 1_024;
/// Notices waiting for the director.
pub const NOTICE_QUEUE: usize = 4_096;
/// Results of looks waiting for the director.
pub const LOOK_QUEUE: usize = 4_096;
/// Commands of people and of sinks waiting for the director.
pub const COMMAND_QUEUE: usize = 64;
/// Locks among which the names at the sink are divided.
pub const APPLIER_SHARDS: usize = 64;
/// Listings that the sink keeps the names of, before their last part has come.
pub const LISTINGS_KEPT_MAX: usize = LISTING_PARTS_MAX;
/// Open directory descriptors kept by the sink.
pub const DIR_CACHE: usize = 256;

/// High-water mark of the command sockets.
pub const COMMAND_HWM: i32 = 64;
/// Largest request that the command service accepts.
pub const REQUEST_BYTES_MAX: i64 = 1024 * 1024;
/// Largest reply; a final report is cut down to it.
pub const REPLY_BYTES_MAX: i64 = 16 * 1024 * 1024;
/// Frames around a request (routing, correlation, delimiter) that the command service accepts.
pub const ROUTING_FRAMES_MAX: usize = 8;
/// Events of one socket's connections that wait to be read. Beyond it libzmq stands still, and
/// all sockets of that thread with it: whoever owns a socket reads its events every now and then.
pub const EVENT_HWM: i32 = 10_000;
/// Threads of the network library that move bytes: one for commands and live, one for backlog.
pub const IO_THREADS: i32 = 2;
/// Half-open connections remembered at one data socket, to tell a stranger's end from the sink's.
pub const CANDIDATES_MAX: usize = 256;
/// A connection that has not shaken hands after this long is given up.
pub const HANDSHAKE_MS: u64 = 5_000;
/// How long a reply may take to leave, and who got it to hang up, once the command service ends.
pub const FAREWELL_MS: u64 = 500;
/// A data message that finds no room for this long means that the peer is gone.
pub const SEND_MS: u64 = 15_000;
/// A TCP connection that is tried by hand may take this long.
pub const PROBE_MS: u64 = 2_000;
/// First wait between two tries to connect; each further one is longer.
pub const RETRY_MS_MIN: u64 = 100;
/// Longest wait between two tries to connect.
pub const RETRY_MS_MAX: u64 = 5_000;
/// A command is asked again when no reply has come for this long.
pub const CALL_MS: u64 = 5_000;
/// A sink asks this long at the most, before it touches anything, whether this is a dry run.
pub const GREETING_MS: u64 = 1_000;
/// An invite is good for this long: a day.
pub const INVITE_SECONDS: u64 = 24 * 60 * 60;
/// Invites remembered in one state directory; beyond it the oldest are forgotten.
pub const INVITES_MAX: usize = 1_000;
/// Grants remembered, so that a repeated registration gets the same epoch: one for each sink.
pub const GRANTS_MAX: usize = 1_000;
/// Connections to one control socket at once.
pub const CONTROL_CONNECTIONS_MAX: usize = 16;
/// Bytes of one request or reply on a control socket.
pub const CONTROL_LINE_BYTES_MAX: u64 = 1024 * 1024;
/// Ends of sessions that a control socket keeps for those who wait for one.
pub const CONTROL_RESULTS_MAX: usize = 16;
/// Names of each sort in a result on a control socket.
pub const CONTROL_RESULT_NAMES_MAX: usize = 100;

/// Bytes of an invite, as pasted or in a file, with what white space it has met on its way.
pub const INVITE_BYTES_MAX: usize = 4 * 1024;
/// Problems told to a person as they come; the rest is in the report.
pub const PROBLEMS_TOLD_MAX: u64 = 100;
/// Subtrees that are not watched, told to a person by name; the rest is counted.
pub const UNWATCHED_TOLD_MAX: usize = 10;
/// Names of each sort told to a person at the end; the report has more.
pub const NAMES_TOLD_MAX: usize = 20;
/// Figures kept to tell how fast things go, one set a second.
pub const PROGRESS_SAMPLES_MAX: usize = 600;

/// A content of fewer bytes is not packed: what is won would not pay for the work.
pub const PACK_BYTES_MIN: usize = 256;
/// Pieces of a content that are packed to see whether it shrinks.
pub const PACK_SAMPLES: usize = 4;
/// Bytes of each of them.
pub const PACK_SAMPLE_BYTES: usize = 4 * 1024;
/// A packed content is of use if it has at most so many percent of the bytes.
pub const PACK_SHRINKS_PERCENT: usize = 90;
/// The level of zstd if none is given.
pub const PACK_LEVEL_DEFAULT: i32 = 3;
/// The greatest: above it zstd takes more memory than contents of this size could repay.
pub const PACK_LEVEL_MAX: i32 = 19;
/// Threads that pack the backlog for one sink, at most.
pub const PACKERS_MAX: usize = 8;
/// Bytes of content that are sent to learn how fast that goes, packed or plain.
pub const PACK_TRIAL_BYTES: u64 = 2 * BACKLOG_CREDIT_BYTES;
/// Such trials before the way that was slower is tried once more.
pub const PACK_TRIALS: u32 = 32;
/// Packed goes faster if it is faster by more than so many percent: it takes time of a host in use.
pub const PACK_PAYS_PERCENT: u64 = 10;
const _: () = assert!(BATCH_BYTES_MAX * 2 <= LIVE_CREDIT_BYTES);
const _: () = assert!(CHUNK_BYTES * 2 <= BACKLOG_CREDIT_BYTES);
const _: () = assert!(TOLD_BLOCKS_MAX as usize * 12 + 64 <= ANSWER_BYTES_MAX);
const _: () = assert!((CHUNK_BYTES + SIGNATURE_BLOCK_MAX) * 2 <= BACKLOG_CREDIT_BYTES);
const _: () = assert!(LIVE_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!((LIVE_CREDIT_MESSAGES as i32) < DATA_HWM);
const _: () = assert!((BACKLOG_CREDIT_MESSAGES as i32) < DATA_HWM);
const _: () = assert!((BATCH_BYTES_MAX as i64) < FRAME_BYTES_MAX);
const _: () = assert!(RETRY_MS_MIN < RETRY_MS_MAX);
const _: () = assert!(HUNG_MS < LOOK_MS);
const _: () = assert!(HANDSHAKE_MS < SEND_MS);

/// Jobs waiting for a worker, in each of the two queues: more than all sinks have under way.
pub const LOOK_JOBS: usize = 4_096;
/// Messages waiting for a lane's sender: above the credit in messages.
pub const LANE_QUEUE: usize = 256;
/// Reports and losses waiting for the director.
pub const NEWS_QUEUE: usize = 256;
/// Questions to the ledgers, and answers of sinks to be entered.
pub const LEDGER_QUEUE: usize = 4_096;
/// Replies waiting for the command service.
pub const REPLY_QUEUE: usize = 256;

/// Open directory descriptors kept by the source.
pub const LOOK_DIR_CACHE: usize = 256;
/// Open listings kept by the source, for all sinks together.
pub const LISTINGS_KEPT: usize = 128;
/// Open transfers kept by the source, for all sinks together, and by a sink.
pub const TRANSFERS_KEPT: usize = 64;
/// Chunks of one transfer read ahead of one that is still missing, kept for the hash.
pub const CHUNKS_AHEAD_MAX: usize = 8;
/// Bytes of a large file of which it is asked at once whether they are in the page cache.
pub const PASSAGE_WINDOW_BYTES: u64 = 1024 * 1024;
/// Such windows that the kernel is asked for before they are read.
pub const PASSAGE_AHEAD: u64 = 8;
/// Times that a name is looked at again because it was replaced meanwhile.
pub const LOOK_TRIES: u32 = 8;
/// Bytes read from the kernel's queue of events at once.
pub const WATCH_READ_BYTES: usize = 256 * 1024;
/// Events read from the kernel for which the director had no room yet; beyond it they become doubt.
pub const WATCH_HELD_MAX: usize = 64 * 1024;
/// Milliseconds for which the sink trusts a directory descriptor without resolving its path again.
pub const DIR_TRUST_MS: u64 = 200;
/// Filesystems below one sink's root.
pub const FILESYSTEMS_MAX: usize = 256;
/// Directories closed to their owner that a sink remembers to close again.
pub const OPENED_MAX: usize = 10_000;
/// What a sink made itself lately and need not keep when it is displaced.
pub const OWN_KEPT: usize = 64 * 1024;
/// Left-over staging directories that a sink remembers for removal.
pub const STAGING_LEFT_MAX: usize = 256;
/// Bytes of address space for one ledger: more than any pool's, for nothing is taken beforehand.
pub const LEDGER_BYTES_MAX: usize = 1 << 36;
/// Pages above one another in a ledger's trees: more than its bytes could fill.
pub const LEDGER_DEPTH_MAX: usize = 32;
/// Bytes of mapped files in memory, the ledger's and the program's own together, above which the
/// ledger lets its map go.
pub const LEDGER_RESIDENT_MAX: u64 = 18 << 20;
/// Epochs of which a ledger remembers what is durable; what is older is compared again.
pub const LEDGER_EPOCHS_MAX: usize = 4_096;
/// Renames that a ledger remembers until they are durable; what is beyond stays in doubt.
pub const LEDGER_MOVES_MAX: usize = 10_000;
/// Layers at one place of a ledger above which small ones become one.
pub const LEDGER_LAYERS_MAX: usize = 8;
/// Names, and directories, of a layer that is small.
pub const LEDGER_LAYER_NAMES_MAX: usize = 1_024;
/// Removed names that a ledger remembers to the end of the epoch; beyond it the oldest are
/// forgotten as soon as they are durable.
pub const LEDGER_TOMBS_MAX: usize = 10_000;
/// Names of one object that one answer of a ledger tells.
pub const KIN_AT_ONCE_MAX: usize = 256;
/// Names of one object that a ledger tries to find one which the sink has.
pub const KIN_TRIES_MAX: usize = 64;
/// Names of one object that are passed over meanwhile, for they are not linked to the others.
pub const KIN_SKIPS_MAX: usize = 4_096;
/// Names that wait until another name of the same object is at the sink; beyond it no more
/// directories are listed.
pub const KIN_WAITING_MAX: usize = 16 * 1024;
const _: () = assert!(APPLY_QUEUE >= LIVE_CREDIT_MESSAGES as usize);
const _: () = assert!(APPLY_QUEUE >= BACKLOG_CREDIT_MESSAGES as usize);
const _: () = assert!(REPORT_BYTES_MAX + 4 * ANSWER_BYTES_MAX < FRAME_BYTES_MAX as usize);
/// Windows of doubt that a marker holds; beyond it the two oldest become one.
pub const DOUBT_WINDOWS_MAX: usize = 16;
/// Bytes of a marker: more is no marker.
pub const MARKER_BYTES_MAX: usize = 64 * 1024;
/// Directories changed by another's hand that a sink remembers; beyond it the whole tree is in
/// doubt.
pub const DISTURBED_MAX: usize = 16 * 1024;
/// Of these in one report.
pub const DISTURBED_PER_REPORT_MAX: usize = 64;
/// Operations after which a durable barrier is due.
pub const BARRIER_OPS: u64 = 50_000;
/// Bytes of content after which a durable barrier is due.
pub const BARRIER_BYTES: u64 = 256 * 1024 * 1024;
