#ifndef CSQLITE_SHIM_H
#define CSQLITE_SHIM_H
#include <sqlite3.h>
#include <sys/prctl.h>

// SQLITE_STATIC and SQLITE_TRANSIENT are casts that Swift does not import.
static inline int csqlite_bind_text_copy(sqlite3_stmt *statement, int index, const char *text, int count) {
    return sqlite3_bind_text(statement, index, text, count, SQLITE_TRANSIENT);
}
static inline int csqlite_bind_blob_copy(sqlite3_stmt *statement, int index, const void *bytes, int count) {
    return sqlite3_bind_blob(statement, index, bytes, count, SQLITE_TRANSIENT);
}

// prctl is variadic, which Swift does not import. Names the calling thread (at most 15 bytes).
static inline void csqlite_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
#endif
