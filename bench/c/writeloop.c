/* writeloop: the floor. What does the kernel alone cost, without any server?
 *
 * Holds N connections, and writes a 60-byte HTTP chunk to one of them after the other, as
 * fast as one core can: no parsing, no map, no queue, no second process. No server
 * that delivers each message with one write can be faster.
 *
 *     writeloop             prints the loopback port on which it listens
 *
 * Whoever connects gets a response head at once, and chunks later. Commands on
 * standard input, each answered by one line of JSON:
 *
 *     write SECONDS         write chunks to random ones for so long
 *     each ROUNDS           write one chunk to each, so often
 *
 * End of input ends it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

static const char head[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char chunk[] = /* load.c counts the mark */
    "36\r\nRecvd msg #12: 'message 0123456789, some more words|'\n\r\n";
_Static_assert(sizeof chunk - 1 == 60, "60 bytes on the wire");

static int *held;
static uint32_t count;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int listen_anywhere(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        die("writeloop: listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void take(int listener) {
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        die("writeloop: accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (write(fd, head, sizeof head - 1) != sizeof head - 1)
        die("writeloop: head");
    held[count++] = fd;
}

static void put(int fd) {
    while (write(fd, chunk, sizeof chunk - 1) != sizeof chunk - 1) {
        struct pollfd full = {.fd = fd, .events = POLLOUT};
        if (errno != EAGAIN)
            die("writeloop: write");
        poll(&full, 1, -1);
    }
}

static void tell(uint64_t sent, double start) {
    printf("{\"sent\":%lu,\"seconds\":%.6f}\n", sent, now() - start);
    fflush(stdout);
}

static void write_for(double seconds) {
    uint64_t sent = 0;
    double start = now(), end = start + seconds;
    while (now() < end)
        for (int i = 0; i < 64; i++, sent++)
            put(held[chance(count)]);
    tell(sent, start);
}

static void write_each(uint32_t rounds) {
    double start = now();
    for (uint32_t round = 0; round < rounds; round++)
        for (uint32_t i = 0; i < count; i++)
            put(held[i]);
    tell((uint64_t)rounds * count, start);
}

int main(void) {
    held = calloc(raise_files_limit(), sizeof *held);
    struct pollfd waiting[] = {{.fd = 0, .events = POLLIN}, {.fd = listen_anywhere(), .events = POLLIN}};
    for (char line[128];;) {
        if (poll(waiting, 2, -1) < 0)
            die("writeloop: poll");
        if (waiting[1].revents)
            take(waiting[1].fd);
        if (waiting[0].revents) {
            ssize_t length = read(0, line, sizeof line - 1);
            double seconds;
            uint32_t rounds;
            if (length <= 0)
                return 0;
            line[length] = 0;
            if (sscanf(line, "write %lf", &seconds) == 1 && count)
                write_for(seconds);
            else if (sscanf(line, "each %u", &rounds) == 1)
                write_each(rounds);
        }
    }
}
