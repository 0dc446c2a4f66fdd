# SPDX-License-Identifier: GPL-2.0-only
#
# "make help" lists what can be made.

TOP := $(CURDIR)
B := build
export VMM_BUILD := $(TOP)/$(B)
export VMM_CACHE := $(abspath $(or $(VMM_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vmm))
RUNNER := selftests/runner

SERIES := 6.1 6.12 7.2
VERSION := 0.1.0

CC ?= gcc
CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Wmissing-prototypes -Wstrict-prototypes \
	-Wold-style-definition -Wpointer-arith -Wundef \
	-Wno-unused-parameter -Wno-missing-field-initializers
STD := -std=gnu11 -D_GNU_SOURCE
INC := -I$(B)/include -Ilibvmm/include
ALL_CFLAGS = $(STD) $(WARN) $(CFLAGS) $(INC) -MMD -MP

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# Recursive calls that start from nothing use all CPUs.
SUBMAKE = $(MAKE) --no-print-directory \
	$(if $(findstring -j,$(MAKEFLAGS))$(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

all: module libvmm vmmctl examples selftests bench-program	## everything but tests

# ---- the module -------------------------------------------------------------
#
# Each kernel has a build directory of its own, build/module-RELEASE, into
# which the sources are linked, so that two kernels' objects never meet and
# the source tree stays clean.

KDIR ?= $(firstword $(wildcard /lib/modules/$(shell uname -r)/build) \
		    $(VMM_CACHE)/kernel-6.1/build)

module_build = $(RUNNER)/build-module "$(1)" $(2)

.PHONY: module
module: | $(if $(findstring $(VMM_CACHE)/kernel-6.1,$(KDIR)),fetch-6.1)	## vmm.ko for KDIR (default: the running kernel, else 6.1)
	+@$(call module_build,$(KDIR),$(KFLAGS))

# For the emulated hosts' kernels.
.PHONY: modules module-count $(SERIES:%=module-%) $(SERIES:%=fetch-%) module-debug fetch-debug
modules: $(SERIES:%=module-%)	## vmm.ko for all kernels of the emulated hosts
$(SERIES:%=module-%) module-debug: module-%: fetch-%
	+@$(call module_build,$(VMM_CACHE)/kernel-$*/build,CONFIG_DEBUG_INFO_BTF_MODULES= $(KFLAGS))
# One that counts costly instructions (module/x86/count.h), for the bench.
module-count: fetch-6.1
	+@VMM_BUILD=$(VMM_BUILD)/count $(call module_build,$(VMM_CACHE)/kernel-6.1/build,CONFIG_DEBUG_INFO_BTF_MODULES= $(KFLAGS) KCFLAGS=-DVMM_COUNT)
$(SERIES:%=fetch-%) fetch-debug: fetch-%:
	@$(RUNNER)/fetch $* >/dev/null

# ---- user space -------------------------------------------------------------

# Sources are <linux/vmm.h> and <vmm/...> to all.
HEADERS := $(wildcard uapi/*.h)
LINKED_HEADERS := $(HEADERS:uapi/%.h=$(B)/include/linux/%.h)
$(LINKED_HEADERS): $(B)/include/linux/%.h:
	@mkdir -p $(@D)
	@ln -sfn $(TOP)/uapi/$*.h $@

$(B)/obj/%.o: %.c | $(LINKED_HEADERS)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(ALL_CFLAGS) $(EXTRA_CFLAGS) -c -o $@ $<

$(B)/obj/%.o: %.S
	@mkdir -p $(@D)
	@echo "  AS      $<"
	@$(CC) $(INC) -MMD -MP -c -o $@ $<

LIB_SRC := $(wildcard libvmm/*.c)
LIB_OBJ := $(LIB_SRC:%.c=$(B)/obj/%.o)
LIB_MAP := $(wildcard libvmm/libvmm.map)
LIBS := -lZydis -lZycore -lpthread
$(LIB_OBJ): EXTRA_CFLAGS = -fPIC

.PHONY: libvmm vmmctl examples selftests bench-program runner
libvmm: $(if $(LIB_SRC),$(B)/libvmm.a $(B)/libvmm.so.0)	## the library

$(B)/libvmm.a: $(LIB_OBJ)
	@echo "  AR      libvmm.a"
	@rm -f $@
	@$(AR) rcs $@ $^

$(B)/libvmm.so.0: $(LIB_OBJ) $(LIB_MAP)
	@echo "  LD      libvmm.so.0"
	@$(CC) -shared -Wl,-soname,libvmm.so.0 \
		$(LIB_MAP:%=-Wl,--version-script=%) $(LDFLAGS) -o $@ $(LIB_OBJ) $(LIBS)
	@ln -sfn libvmm.so.0 $(B)/libvmm.so

# program NAME,OBJECTS: one that is linked with the library.
define link
	@mkdir -p $(@D)
	@echo "  LD      $(@:$(B)/%=%)"
	@$(CC) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LIBS)
endef
LIB_A := $(if $(LIB_SRC),$(B)/libvmm.a)

CTL_SRC := $(wildcard vmmctl/*.c vmmctl/devices/*.c)
CTL_OBJ := $(CTL_SRC:%.c=$(B)/obj/%.o)
$(CTL_OBJ): EXTRA_CFLAGS = -Ivmmctl
vmmctl: $(if $(CTL_SRC),$(B)/bin/vmmctl)	## the control tool
$(B)/bin/vmmctl: $(CTL_OBJ) $(LIB_A)
	$(link)

EXAMPLES := $(patsubst examples/%.c,$(B)/bin/%,$(wildcard examples/*.c))
examples: $(EXAMPLES)	## small VMMs
$(EXAMPLES): $(B)/bin/%: $(B)/obj/examples/%.o $(LIB_A)
	$(link)

BENCH_SRC := $(wildcard bench/*.c bench/*.S)
BENCH_OBJ := $(patsubst %,$(B)/obj/%.o,$(basename $(BENCH_SRC)))
bench-program: $(if $(BENCH_SRC),$(B)/bin/vmm-bench)
$(B)/bin/vmm-bench: $(BENCH_OBJ) $(LIB_A)
	$(link)

# ---- tests, the emulated host -----------------------------------------------

include selftests/Makefile

# ---- installing -------------------------------------------------------------

PREFIX ?= /usr/local
INSTALL ?= install
libdir := $(PREFIX)/lib
includedir := $(PREFIX)/include
completiondir := $(PREFIX)/share/bash-completion/completions
mandir := $(PREFIX)/share/man/man1
udevdir := $(PREFIX)/lib/udev/rules.d
# The kernel that KDIR builds for: the running one, where its headers are.
KRELEASE = $(shell sed -n 's/^.define UTS_RELEASE "\(.*\)"/\1/p' $(KDIR)/include/generated/utsrelease.h)
moduledir = /lib/modules/$(KRELEASE)/updates

.PHONY: FORCE
$(B)/vmm.pc: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' \
		'includedir=$${prefix}/include' '' 'Name: vmm' \
		'Description: Library for virtual machine monitors on /dev/vmm' \
		'Version: $(VERSION)' 'Libs: -L$${libdir} -lvmm' \
		'Libs.private: $(LIBS)' 'Cflags: -I$${includedir}' >$@

.PHONY: install uninstall
install: module libvmm vmmctl $(B)/vmm.pc	## everything into PREFIX, the module into its kernel's tree (DESTDIR, PREFIX, KDIR)
	$(INSTALL) -D -m 644 $(B)/module-$(KRELEASE)/vmm.ko $(DESTDIR)$(moduledir)/vmm.ko
	$(INSTALL) -d $(DESTDIR)$(libdir)/pkgconfig $(DESTDIR)$(includedir)/linux $(DESTDIR)$(includedir)/vmm
	$(INSTALL) -m 644 uapi/*.h $(DESTDIR)$(includedir)/linux
	$(INSTALL) -m 644 libvmm/include/vmm/*.h $(DESTDIR)$(includedir)/vmm
	$(INSTALL) -m 644 $(B)/libvmm.a $(DESTDIR)$(libdir)
	$(INSTALL) -m 755 $(B)/libvmm.so.0 $(DESTDIR)$(libdir)
	ln -sf libvmm.so.0 $(DESTDIR)$(libdir)/libvmm.so
	$(INSTALL) -m 644 $(B)/vmm.pc $(DESTDIR)$(libdir)/pkgconfig
	$(INSTALL) -D -m 755 $(B)/bin/vmmctl $(DESTDIR)$(PREFIX)/bin/vmmctl
	$(INSTALL) -D -m 644 Documentation/man/vmmctl.1 $(DESTDIR)$(mandir)/vmmctl.1
	$(INSTALL) -D -m 644 vmmctl/completion.bash $(DESTDIR)$(completiondir)/vmmctl
	$(INSTALL) -D -m 644 udev/99-vmm.rules $(DESTDIR)$(udevdir)/99-vmm.rules
ifeq ($(DESTDIR),)
	depmod $(KRELEASE)
	ldconfig
	-udevadm control --reload 2>/dev/null
endif

uninstall:	## remove what install put there
	rm -f $(DESTDIR)$(moduledir)/vmm.ko $(DESTDIR)$(libdir)/libvmm.a \
		$(DESTDIR)$(libdir)/libvmm.so $(DESTDIR)$(libdir)/libvmm.so.0 \
		$(DESTDIR)$(libdir)/pkgconfig/vmm.pc $(DESTDIR)$(PREFIX)/bin/vmmctl \
		$(DESTDIR)$(mandir)/vmmctl.1 $(DESTDIR)$(completiondir)/vmmctl \
		$(DESTDIR)$(udevdir)/99-vmm.rules \
		$(HEADERS:uapi/%=$(DESTDIR)$(includedir)/linux/%)
	rm -rf $(DESTDIR)$(includedir)/vmm
ifeq ($(DESTDIR),)
	depmod $(KRELEASE)
	ldconfig
endif

.PHONY: clean
clean:	## remove what was built (not the cache of kernels)
	rm -rf $(B)

.PHONY: help
help:	## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1	/p' Makefile selftests/Makefile | \
		while IFS='	' read -r t d; do printf '  make %-14s %s\n' "$$t" "$$d"; done
	@echo "Variables: KDIR KFLAGS CC CFLAGS PREFIX DESTDIR VENDOR TESTS MUTANTS SECONDS MINUTES SEED KERNEL FORMAT V=1 VMM_CACHE"

-include $(wildcard $(patsubst %.o,%.d,$(LIB_OBJ) $(CTL_OBJ) $(BENCH_OBJ))) \
	$(wildcard $(B)/obj/examples/*.d $(B)/obj/selftests/*.d $(B)/obj/selftests/*/*.d)
