// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loaded before the C library, so that Bochs, which answers RDRAND from rand()
 * and seeds it with the time, is repeatable.
 */
void srand(unsigned int seed);

void srand(unsigned int seed)
{
	(void)seed;
}
