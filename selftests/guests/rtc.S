/* SPDX-License-Identifier: GPL-2.0-only */ /* load: 0x1000 */
/*
 * A flat image in real mode that says of each interrupt of the real-time clock what it was for:
 * "u" an update, "a" an alarm (any second matches), "p" a period, two in a second. What it is sent:
 * "b" has it set its clock back to 2001, "f" forward to 2099, in one step; "B" and "F" do it as the
 * data sheet says, with SET around it.
 */
#define COM1		0x3f8
#define PIC1		0x20
#define PIC2		0xa0
#define RTC		0x70
#define EOI		0x20
#define VECTOR		0x28		/* of IRQ 8 */

#define SECONDS_ALARM	1
#define MINUTES_ALARM	3
#define HOURS_ALARM	5
#define YEAR		9
#define STATUS_A	0x0a
#define STATUS_B	0x0b
#define STATUS_C	0x0c
#define B_RUNNING	0x72		/* all three, 24 hours */
#define B_SET		0xe2
#define B_ALARM		0x62		/* no interrupt is enabled that was not before */

	.macro	out_port port, value
	movb	$\value, %al
	outb	%al, $\port
	.endm

	/* Register @index = @value; NMIs do not matter here. */
	.macro	set_register index, value
	out_port RTC, \index
	out_port RTC + 1, \value
	.endm

	.code16
	.text
	.globl	_start
_start:	movw	$0x7000, %sp
	movw	$interrupt, 4 * VECTOR
	movw	$0, 4 * VECTOR + 2
	out_port PIC1, 0x11
	out_port PIC1 + 1, 0x20
	out_port PIC1 + 1, 4
	out_port PIC1 + 1, 1
	out_port PIC2, 0x11
	out_port PIC2 + 1, VECTOR
	out_port PIC2 + 1, 2
	out_port PIC2 + 1, 1
	out_port PIC1 + 1, 0xfb		/* all but the second one */
	out_port PIC2 + 1, 0xfe		/* all but IRQ 8 */
	movw	$COM1 + 1, %dx		/* ready for input, which is looked for */
	movb	$1, %al
	outb	%al, %dx
	set_register SECONDS_ALARM, 0xff
	set_register MINUTES_ALARM, 0xff
	set_register HOURS_ALARM, 0xff
	set_register STATUS_A, 0x2f
	set_register STATUS_B, B_RUNNING
	sti

wait:	hlt
	movw	$COM1 + 5, %dx
	inb	%dx, %al
	testb	$1, %al
	jz	wait
	movw	$COM1, %dx
	inb	%dx, %al
	movb	$0x01, %bl
	cmpb	$'b', %al
	je	step
	cmpb	$'B', %al
	je	set
	movb	$0x99, %bl
	cmpb	$'f', %al
	je	step
	cmpb	$'F', %al
	jne	wait

set:	cli
	set_register STATUS_B, B_SET
	call	set_year
	set_register STATUS_B, B_ALARM
	sti
	jmp	wait
step:	cli
	call	set_year
	sti
	jmp	wait
set_year:
	out_port RTC, YEAR
	movb	%bl, %al
	outb	%al, $RTC + 1
	ret

interrupt:
	pushaw
	movw	$COM1, %dx
	out_port RTC, STATUS_C
	inb	$RTC + 1, %al
	movb	%al, %bl
	movb	$'u', %al
	testb	$0x10, %bl
	jz	1f
	outb	%al, %dx
1:	movb	$'a', %al
	testb	$0x20, %bl
	jz	1f
	outb	%al, %dx
1:	movb	$'p', %al
	testb	$0x40, %bl
	jz	1f
	outb	%al, %dx
1:	out_port PIC2, EOI
	out_port PIC1, EOI
	popaw
	iretw
