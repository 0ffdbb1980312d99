/* A file layer that loses what was not synced, for LD_PRELOAD.
 *
 * Files under $CRASH_LIVE are worked on as always. $CRASH_DISK holds what a power cut leaves of them:
 *   contents/INODE   the file's octets as of its last fsync, fdatasync
 *   names/NAME       hard links to those, as of the folder's last fsync
 * So a new, renamed or removed name counts only after its folder was synced, as POSIX has it; a sync that a kill
 * interrupts is half done. One interval of dirty octets is kept for each file, and copied when it is synced. Memory
 * mappings are not followed: SQLite maps its -shm only, which is made anew after a crash.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 4096
#define DIRTY 256
#define NEXT(type, name) \
    static type next; \
    if (!next) next = (type)dlsym(RTLD_NEXT, name)

struct dirty { ino_t inode; off_t from, to; int used; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ino_t inode_of[FILES];        /* by descriptor; 0 is none of ours */
static char is_folder[FILES];
static struct dirty dirty[DIRTY];
static __thread int inside;          /* our own calls are not for us */

static const char *live(void) { return getenv("CRASH_LIVE"); }
static const char *disk(void) { return getenv("CRASH_DISK"); }

static int is_ours(const char *path) {
    const char *folder = live();
    size_t length = folder ? strlen(folder) : 0;
    return length && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static void content_path(char *to, size_t size, ino_t inode) {
    snprintf(to, size, "%s/contents/%llu", disk(), (unsigned long long)inode);
}

static void broken(const char *what) {
    fprintf(stderr, "dropping.c: %s: %s\n", what, strerror(errno));
    abort();
}

static struct dirty *dirty_of(ino_t inode) {
    struct dirty *unused = NULL;
    for (int i = 0; i < DIRTY; i++) {
        if (dirty[i].used && dirty[i].inode == inode) return &dirty[i];
        if (!dirty[i].used && !unused) unused = &dirty[i];
    }
    if (!unused) broken("too many files");
    *unused = (struct dirty){inode, 0, 0, 1};
    return unused;
}

static void touched(int fd, off_t from, off_t length) {
    if (inside || fd < 0 || fd >= FILES || !inode_of[fd] || is_folder[fd]) return;
    pthread_mutex_lock(&lock);
    struct dirty *one = dirty_of(inode_of[fd]);
    if (one->from == one->to) { one->from = from; one->to = from + length; }
    if (from < one->from) one->from = from;
    if (from + length > one->to) one->to = from + length;
    pthread_mutex_unlock(&lock);
}

static void opened(int fd, const char *path, int is_new) {
    struct stat status;
    if (fd < 0 || fd >= FILES || !is_ours(path) || fstat(fd, &status)) return;
    inode_of[fd] = status.st_ino;
    is_folder[fd] = S_ISDIR(status.st_mode);
    if (is_new) {                    /* the number may have been that of a removed file, which a name may still hold */
        char content[4096];
        content_path(content, sizeof content, status.st_ino);
        unlink(content);
    }
}

static void sync_content(int fd) {
    struct dirty *one = dirty_of(inode_of[fd]);
    struct stat status;
    char content[4096], buffer[65536], self[64];
    content_path(content, sizeof content, inode_of[fd]);
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    int from = open(self, O_RDONLY), to = open(content, O_WRONLY | O_CREAT, 0600);
    if (from < 0 || to < 0 || fstat(fd, &status)) broken(content);
    off_t end = one->to < status.st_size ? one->to : status.st_size;
    for (off_t at = one->from; at < end;) {
        size_t wanted = (size_t)(end - at) < sizeof buffer ? (size_t)(end - at) : sizeof buffer;
        ssize_t got = pread(from, buffer, wanted, at);
        if (got <= 0 || pwrite(to, buffer, (size_t)got, at) != got) broken("copying");
        at += got;
    }
    if (ftruncate(to, status.st_size)) broken("cutting");
    close(from);
    close(to);
    one->used = 0;
}

static void sync_name(const char *name) {
    char path[4096], content[4096], linked[4096], fresh[4096];
    struct stat status, known;
    snprintf(path, sizeof path, "%s/%s", live(), name);
    if (stat(path, &status) || !S_ISREG(status.st_mode)) return;
    content_path(content, sizeof content, status.st_ino);
    close(open(content, O_WRONLY | O_CREAT, 0600));      /* the name lasts, though nothing of its content was synced */
    snprintf(linked, sizeof linked, "%s/names/%s", disk(), name);
    if (!stat(linked, &known) && !stat(content, &status) && known.st_ino == status.st_ino) return;
    snprintf(fresh, sizeof fresh, "%s/fresh", disk());
    unlink(fresh);
    if (link(content, fresh) || rename(fresh, linked)) broken(linked);
}

static void sync_folder(void) {
    char path[8192], folder[4096];
    struct stat status;
    DIR *names = opendir(live());
    for (struct dirent *one; names && (one = readdir(names));) sync_name(one->d_name);
    if (names) closedir(names);
    snprintf(folder, sizeof folder, "%s/names", disk());
    names = opendir(folder);
    for (struct dirent *one; names && (one = readdir(names));) {
        snprintf(path, sizeof path, "%s/%s", live(), one->d_name);
        if (one->d_name[0] == '.' || !lstat(path, &status)) continue;
        snprintf(path, sizeof path, "%s/%s", folder, one->d_name);
        unlink(path);
    }
    if (names) closedir(names);
}

static int synced(int fd) {
    if (fd < 0 || fd >= FILES || !inode_of[fd]) return 0;
    pthread_mutex_lock(&lock);
    inside = 1;
    if (is_folder[fd]) sync_folder(); else sync_content(fd);
    inside = 0;
    pthread_mutex_unlock(&lock);
    return 1;                        /* no need to wait for the true disk */
}

/* ---- what SQLite and Python call */

typedef int (*open_call)(const char *, int, ...);
typedef int (*openat_call)(int, const char *, int, ...);
typedef int (*fd_call)(int);
typedef ssize_t (*write_call)(int, const void *, size_t);
typedef ssize_t (*pwrite_call)(int, const void *, size_t, off_t);
typedef ssize_t (*pwritev_call)(int, const struct iovec *, int, off_t);
typedef int (*truncate_call)(int, off_t);

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        NEXT(open_call, #name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        int is_new = flags & O_CREAT && !inside && is_ours(path) && access(path, F_OK); \
        int fd = next(path, flags, mode); \
        if (!inside) opened(fd, path, is_new); \
        return fd; \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        NEXT(openat_call, #name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        int is_new = flags & O_CREAT && !inside && is_ours(path) && access(path, F_OK); \
        int fd = next(folder, path, flags, mode); \
        if (!inside) opened(fd, path, is_new); \
        return fd; \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    NEXT(fd_call, "close");
    if (!inside && fd >= 0 && fd < FILES) inode_of[fd] = 0;
    return next(fd);
}

ssize_t write(int fd, const void *data, size_t count) {
    NEXT(write_call, "write");
    off_t at = !inside && fd >= 0 && fd < FILES && inode_of[fd] ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t written = next(fd, data, count);
    if (written > 0) touched(fd, at, written);
    return written;
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *data, size_t count, off_t at) { \
        NEXT(pwrite_call, #name); \
        ssize_t written = next(fd, data, count, at); \
        if (written > 0) touched(fd, at, written); \
        return written; \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name) \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t at) { \
        NEXT(pwritev_call, #name); \
        ssize_t written = next(fd, parts, count, at); \
        if (written > 0) touched(fd, at, written); \
        return written; \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define TRUNCATE(name) \
    int name(int fd, off_t length) { \
        NEXT(truncate_call, #name); \
        int result = next(fd, length); \
        if (!result) touched(fd, length, 0); \
        return result; \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

int fsync(int fd) {
    NEXT(fd_call, "fsync");
    return synced(fd) ? 0 : next(fd);
}

int fdatasync(int fd) {
    NEXT(fd_call, "fdatasync");
    return synced(fd) ? 0 : next(fd);
}
