/*
 * cmocka asks for these headers before its own; one place for that.
 */
#ifndef TESTS_CMOCKA_SETUP_H
#define TESTS_CMOCKA_SETUP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
