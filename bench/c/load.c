/* load: the clients of the benchmarks, in one process and one epoll.
 *
 * Opens N streams, sends messages to random ones of them, and counts what comes
 * back. It is in C because it must be cheaper than the server that it loads: a
 * slow client would measure itself.
 *
 *     load HOST PORT SOURCE FIRST [TO]
 *                                  SOURCE: the address to connect from;
 *                                  FIRST: the id of its first stream, the others count on;
 *                                  TO: the port that is sent to, if it's another one
 *
 * Commands on standard input, each answered by one line of JSON:
 *
 *     open N PATH                  open N further streams, PATH<id>
 *     post SECONDS K DEPTH PATH    POST PATH<id>, K connections, DEPTH requests under way on each
 *     ndjson SECONDS K PATH        one streamed POST PATH on each of K connections
 *     await TOTAL                  wait until TOTAL messages have come in all
 *
 * End of input ends it. Streams are drained all the time, also between commands.
 *
 * Invariants:
 * - A message holds the byte MARK exactly once, as its last, and nothing that a
 *   server adds holds it: counting MARKs counts whole messages, however the
 *   bytes were split between reads, whatever the transport.
 * - Each stream knows how many messages were sent to it and how many came, so a
 *   message that went to the wrong stream shows even if the sums agree.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

enum {
    MARK = '|',
    BODY = 35,          /* bytes of a message: with Encke's frame around it, ~60 on the wire */
    OPENING = 256,      /* streams whose head may be outstanding: below any server's backlog */
    BLOCK = 16384,      /* bytes of NDJSON written at once */
    SENDERS = 1024,     /* most connections that send */
    DEPTH = 256,        /* most requests under way on one of them */
    STALL = 10,         /* seconds without any progress after which a command gives up */
};

typedef struct {
    int fd;
    uint8_t matched;    /* bytes of CR LF CR LF seen; 4: the head has come */
    uint8_t status_at;  /* bytes of "HTTP/1.1 200" seen */
    uint32_t sent, got; /* messages */
} Stream;

typedef struct {
    int fd;
    int armed;                  /* EPOLLOUT is on */
    int ended;                  /* NDJSON: the last chunk is written */
    int answered;               /* NDJSON: the answer has come */
    uint32_t first, under_way;  /* ring of the streams that unanswered requests are for */
    uint32_t target[DEPTH];
    size_t out_at, out_len, in_len;
    char *out;                  /* DEPTH requests, or one block */
    char in[16384];
} Sender;

static struct sockaddr_in server, sent_to, source;
static const char *host;
static int port, poller;
static uint32_t first_id;
static Stream *streams;
static uint32_t stream_count, stream_room, opened, refused_streams, lost_streams;
static Sender *senders;
static uint32_t sender_count, depth, answered, refused;
static uint64_t sent, received, accepted, claimed;
static double last_progress, stop_at;
static char path[256];
static char buffer[65536];
static char error[256];

static void fail(const char *what) {
    if (!*error)
        snprintf(error, sizeof error, "%s%s%s", what, errno ? ": " : "", errno ? strerror(errno) : "");
}

static void watch(int fd, uint32_t events, uint64_t key, int op) {
    struct epoll_event event = {.events = events, .data.u64 = key};
    if (epoll_ctl(poller, op, fd, &event) < 0)
        perror("load: epoll_ctl"), exit(1);
}

static int dial(struct sockaddr_in *to) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail("socket"), -1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0 ||
        connect(fd, (struct sockaddr *)to, sizeof *to) < 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return fail("connect"), close(fd), -1;
    return fd;
}

/* ---- streams -------------------------------------------------------------- */

static void open_stream(uint32_t index) {
    char request[512];
    Stream *stream = &streams[index];
    int length = snprintf(request, sizeof request, /* the last two: nchan insists on them */
                          "GET %s%u HTTP/1.1\r\nHost: %s:%d\r\nAccept: text/event-stream\r\nTE: chunked\r\n\r\n",
                          path, first_id + index, host, port);
    *stream = (Stream){.fd = dial(&server)};
    if (stream->fd < 0)
        return;
    if (write(stream->fd, request, length) != length)
        fail("write");
    watch(stream->fd, EPOLLIN, index, EPOLL_CTL_ADD);
}

static void close_stream(Stream *stream) {
    close(stream->fd);
    stream->fd = -1;
    stream->matched == 4 ? lost_streams++ : refused_streams++;
}

static const char *skip_head(Stream *stream, const char *at, const char *end) {
    static const char want[] = "HTTP/1.1 200", blank[] = "\r\n\r\n";
    for (; at < end && stream->matched < 4; at++) {
        if (stream->status_at < sizeof want - 1 && *at != want[stream->status_at++]) {
            close_stream(stream);
            return end;
        }
        stream->matched = *at == blank[stream->matched] ? stream->matched + 1 : *at == '\r';
    }
    opened += stream->matched == 4;
    return at;
}

static void drain_stream(Stream *stream) {
    ssize_t length = read(stream->fd, buffer, sizeof buffer);
    if (length <= 0) {
        if (length == 0 || errno != EAGAIN)
            close_stream(stream);
        return;
    }
    const char *at = buffer, *end = buffer + length;
    if (stream->matched < 4)
        at = skip_head(stream, at, end);
    while (at < end && (at = memchr(at, MARK, end - at)))
        stream->got++, received++, at++;
    last_progress = now();
}

static uint32_t misdirected(void) {
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < stream_count; i++)
        wrong += streams[i].sent != streams[i].got;
    return wrong;
}

/* ---- senders -------------------------------------------------------------- */

static void put_body(char *to) {
    static uint32_t number;
    char text[BODY + 1];
    snprintf(text, sizeof text, "message %010u, some more words", number++);
    memcpy(to, text, BODY);
    to[BODY - 1] = MARK;
}

static void flush(uint32_t index) {
    Sender *sender = &senders[index];
    while (sender->out_at < sender->out_len) {
        ssize_t n = write(sender->fd, sender->out + sender->out_at, sender->out_len - sender->out_at);
        if (n < 0 && errno != EAGAIN)
            return fail("write");
        if (n < 0)
            break;
        sender->out_at += n;
        last_progress = now();
    }
    int pending = sender->out_at < sender->out_len, arm = pending || (!depth && !sender->ended);
    if (!pending)
        sender->out_at = sender->out_len = 0;
    if (arm != sender->armed)
        watch(sender->fd, arm ? EPOLLIN | EPOLLOUT : EPOLLIN, stream_room + index, EPOLL_CTL_MOD);
    sender->armed = arm;
}

static void post_more(uint32_t index) { /* as many requests as may be under way, in one write */
    Sender *sender = &senders[index];
    if (sender->out_len || now() >= stop_at)
        return;
    while (sender->under_way < depth) {
        uint32_t target = chance(stream_count);
        char *to = sender->out + sender->out_len;
        to += sprintf(to, "POST %s%u HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: %d\r\n\r\n",
                      path, first_id + target, host, port, BODY);
        put_body(to);
        sender->out_len = to + BODY - sender->out;
        sender->target[(sender->first + sender->under_way++) % DEPTH] = target;
        streams[target].sent++, sent++;
    }
    flush(index);
}

static void stream_more(uint32_t index) { /* one block of lines, or the last chunk */
    Sender *sender = &senders[index];
    if (sender->out_len || sender->ended)
        return;
    if (now() >= stop_at) {
        sender->out_len = sprintf(sender->out, "0\r\n\r\n");
        sender->ended = 1;
        return flush(index);
    }
    char *start = sender->out + 8, *to = start; /* 8: room for the chunk's size line */
    while (to < start + BLOCK) {
        uint32_t target = chance(stream_count);
        to += sprintf(to, "{\"id\":\"%u\",\"data\":\"", first_id + target);
        put_body(to);
        to = mempcpy(to + BODY, "\"}\n", 3);
        streams[target].sent++, sent++;
    }
    char size[9];
    snprintf(size, sizeof size, "%06x\r\n", (unsigned)(to - start));
    memcpy(sender->out, size, 8);
    to = mempcpy(to, "\r\n", 2);
    sender->out_len = to - sender->out;
    flush(index);
}

static uint64_t number_after(const char *text, const char *end, const char *name) {
    const char *at = memmem(text, end - text, name, strlen(name));
    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static ssize_t content_length(const char *head, const char *end) {
    for (const char *line = head; line < end && (line = memchr(line, '\n', end - line)); line++)
        if (strncasecmp(line + 1, "content-length:", 15) == 0)
            return strtol(line + 16, NULL, 10);
    return -1;
}

static void take_answer(Sender *sender, const char *answer, const char *body, const char *end) {
    int status = atoi(answer + 9);
    accepted += number_after(body, end, "\"accepted\":");
    claimed += number_after(body, end, "\"delivered\":");
    answered++;
    sender->answered = 1;
    if (sender->under_way) {
        uint32_t target = sender->target[sender->first++ % DEPTH];
        sender->under_way--;
        if (status / 100 != 2)
            streams[target].sent--;
    }
    if (status / 100 != 2) {
        refused++;
        snprintf(error, sizeof error, "the server answered %d", status);
    }
}

static void read_answers(uint32_t index) {
    Sender *sender = &senders[index];
    ssize_t n = read(sender->fd, sender->in + sender->in_len, sizeof sender->in - sender->in_len);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            errno = n ? errno : 0;
            fail("the server closed a sender's connection");
        }
        return;
    }
    last_progress = now();
    sender->in_len += n;
    const char *at = sender->in, *end = at + sender->in_len, *blank;
    while ((blank = memmem(at, end - at, "\r\n\r\n", 4))) {
        ssize_t length = content_length(at, blank);
        if (length < 0)
            return errno = 0, fail("an answer without Content-Length");
        if (blank + 4 + length > end)
            break;
        take_answer(sender, at, blank + 4, blank + 4 + length);
        at = blank + 4 + length;
    }
    sender->in_len = end - at;
    memmove(sender->in, at, sender->in_len);
}

static void start_senders(uint32_t count) {
    sender_count = count;
    senders = calloc(count, sizeof *senders);
    for (uint32_t i = 0; i < count && !*error; i++) {
        int size = 256 * 1024; /* bounds what is still under way when the time is over */
        senders[i].fd = dial(&sent_to);
        senders[i].out = malloc(DEPTH * 512 > 2 * BLOCK ? DEPTH * 512 : 2 * BLOCK);
        if (senders[i].fd < 0)
            return;
        setsockopt(senders[i].fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        watch(senders[i].fd, EPOLLIN, stream_room + i, EPOLL_CTL_ADD);
    }
}

static void stop_senders(void) {
    for (uint32_t i = 0; i < sender_count; i++)
        close(senders[i].fd), free(senders[i].out);
    free(senders);
    senders = NULL, sender_count = 0;
}

/* ---- the loop ------------------------------------------------------------- */

typedef void Advance(uint32_t index);

/* One turn. Returns whether a command waits on standard input. */
static int turn(Advance *advance) {
    static struct epoll_event events[512];
    int command = 0, count = epoll_wait(poller, events, 512, 1000);
    for (int i = 0; i < count; i++) {
        uint64_t key = events[i].data.u64;
        if (key == UINT64_MAX) {
            command = 1;
        } else if (key < stream_room) {
            drain_stream(&streams[key]);
        } else {
            uint32_t index = key - stream_room;
            if (events[i].events & ~EPOLLOUT)
                read_answers(index);
            flush(index);
            advance(index);
        }
    }
    return command;
}

static int stalled(void) {
    if (!*error && now() - last_progress > STALL)
        errno = 0, fail("stalled");
    return *error != 0;
}

static int all_answered(void) {
    for (uint32_t i = 0; i < sender_count; i++)
        if (senders[i].under_way || (!depth && !senders[i].answered))
            return 0;
    return now() >= stop_at;
}

static void do_send(double seconds, uint32_t count, Advance *advance) {
    uint64_t received_before = received;
    answered = refused = 0, sent = accepted = claimed = 0;
    start_senders(count);
    double start = last_progress = now();
    stop_at = start + seconds;
    for (uint32_t i = 0; i < count && !*error; i++) {
        if (!depth) {
            senders[i].out_len = sprintf(senders[i].out,
                "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/x-ndjson\r\n"
                "Transfer-Encoding: chunked\r\n\r\n", path, host, port);
            watch(senders[i].fd, EPOLLIN | EPOLLOUT, stream_room + i, EPOLL_CTL_MOD);
            senders[i].armed = 1;
        } else {
            advance(i);
        }
    }
    while (!all_answered() && !stalled())
        turn(advance);
    uint64_t answers_done = sent - refused;
    while (received - received_before < answers_done && !stalled())
        turn(advance);
    printf("{\"sent\":%lu,\"answered\":%u,\"refused\":%u,\"accepted\":%lu,\"claimed\":%lu,"
           "\"received\":%lu,\"misdirected\":%u,\"seconds\":%.6f,\"error\":\"%s\"}\n",
           sent, answered, refused, accepted, claimed, received - received_before, misdirected(),
           now() - start, error);
    stop_senders();
}

static void nothing(uint32_t index) { (void)index; }

static void do_open(uint32_t count) {
    uint32_t next = stream_count, target = stream_count + count;
    uint32_t done = opened + refused_streams;
    double start = last_progress = now();
    if (target > stream_room)
        errno = 0, fail("too many streams");
    while (!*error && opened + refused_streams - done < count && !stalled()) {
        while (!*error && next < target && next - stream_count - (opened + refused_streams - done) < OPENING)
            open_stream(next++);
        turn(nothing);
    }
    stream_count = next;
    printf("{\"opened\":%u,\"refused\":%u,\"seconds\":%.6f,\"error\":\"%s\"}\n",
           opened, refused_streams, now() - start, error);
}

static void do_await(uint64_t total) {
    last_progress = now();
    while (received < total && !stalled())
        turn(nothing);
    printf("{\"received\":%lu,\"lost_streams\":%u,\"error\":\"%s\"}\n", received, lost_streams, error);
}

static void obey(const char *line) {
    double seconds;
    uint32_t count;
    uint64_t total;
    *error = 0;
    if (sscanf(line, "open %u %255s", &count, path) == 2)
        do_open(count);
    else if (sscanf(line, "post %lf %u %u %255s", &seconds, &count, &depth, path) == 4 &&
             count <= SENDERS && depth >= 1 && depth <= DEPTH)
        do_send(seconds, count, post_more);
    else if (sscanf(line, "ndjson %lf %u %255s", &seconds, &count, path) == 3 && count <= SENDERS)
        depth = 0, do_send(seconds, count, stream_more);
    else if (sscanf(line, "await %lu", &total) == 1)
        do_await(total);
    else
        printf("{\"error\":\"no such command\"}\n");
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc != 5 && argc != 6)
        return fprintf(stderr, "usage: load HOST PORT SOURCE FIRST [TO]\n"), 2;
    host = argv[1], port = atoi(argv[2]), first_id = strtoul(argv[4], NULL, 10);
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    source = (struct sockaddr_in){.sin_family = AF_INET};
    if (!inet_aton(host, &server.sin_addr) || !inet_aton(argv[3], &source.sin_addr))
        return fprintf(stderr, "load: HOST and SOURCE are IPv4 addresses\n"), 2;
    sent_to = server;
    if (argc == 6)
        sent_to.sin_port = htons(atoi(argv[5]));
    stream_room = raise_files_limit();
    streams = calloc(stream_room, sizeof *streams);
    poller = epoll_create1(EPOLL_CLOEXEC);
    watch(0, EPOLLIN, UINT64_MAX, EPOLL_CTL_ADD);
    for (char line[512];;) {
        if (!turn(nothing))
            continue;
        ssize_t length = read(0, line, sizeof line - 1); /* one command at a time: its reader waits */
        if (length <= 0)
            return 0;
        line[length] = 0;
        obey(line);
    }
}
