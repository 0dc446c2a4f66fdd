/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvmm: what its files share is not static, and a program that is linked with
 * libvmm.a may well have a fail() or a shift() of its own. So these get a
 * prefix in the object files.
 */
#ifndef LIBVMM_NAMES_H
#define LIBVMM_NAMES_H

#define alu			libvmm_alu
#define check_placement		libvmm_check_placement
#define condition		libvmm_condition
#define do_ioctl		libvmm_do_ioctl
#define double_shift		libvmm_double_shift
#define elf_is			libvmm_elf_is
#define elf_load		libvmm_elf_load
#define elf_open		libvmm_elf_open
#define elf_segment		libvmm_elf_segment
#define fail			libvmm_fail
#define insn_address		libvmm_insn_address
#define insn_canonical		libvmm_insn_canonical
#define insn_fault		libvmm_insn_fault
#define insn_get		libvmm_insn_get
#define insn_get_gpr		libvmm_insn_get_gpr
#define insn_integer		libvmm_insn_integer
#define insn_length		libvmm_insn_length
#define insn_load_segment	libvmm_insn_load_segment
#define insn_pop		libvmm_insn_pop
#define insn_push		libvmm_insn_push
#define insn_read		libvmm_insn_read
#define insn_read_for_write	libvmm_insn_read_for_write
#define insn_read_memory	libvmm_insn_read_memory
#define insn_segment		libvmm_insn_segment
#define insn_set		libvmm_insn_set
#define insn_set_gpr		libvmm_insn_set_gpr
#define insn_size		libvmm_insn_size
#define insn_stack		libvmm_insn_stack
#define insn_string		libvmm_insn_string
#define insn_system		libvmm_insn_system
#define insn_unsupported	libvmm_insn_unsupported
#define insn_vector		libvmm_insn_vector
#define insn_write		libvmm_insn_write
#define insn_write_memory	libvmm_insn_write_memory
#define linux_is		libvmm_linux_is
#define low_memory_end		libvmm_low_memory_end
#define memory_map		libvmm_memory_map
#define memory_place		libvmm_memory_place
#define multiboot_is		libvmm_multiboot_is
#define place_bytes		libvmm_place_bytes
#define place_modules		libvmm_place_modules
#define pvh_entry		libvmm_pvh_entry
#define shift			libvmm_shift
#define state_code_size		libvmm_state_code_size
#define state_cpl		libvmm_state_cpl
#define state_linear		libvmm_state_linear
#define strings_add		libvmm_strings_add
#define vcpu_access		libvmm_vcpu_access
#define vcpu_fetch		libvmm_vcpu_fetch
#define vcpu_finish_insn	libvmm_vcpu_finish_insn
#define vcpu_insn_access	libvmm_vcpu_insn_access
#define vcpu_inject_fault	libvmm_vcpu_inject_fault
#define vcpu_read_linear	libvmm_vcpu_read_linear
#define vcpu_write_linear	libvmm_vcpu_write_linear

#endif
