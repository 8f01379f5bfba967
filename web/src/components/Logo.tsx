/** The sign of Kronos: a line, and a cone of what may follow. */

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
      <path class="logo-line" d="M3 22l7-8 4 4" />
      <path class="logo-wide" d="M14 18L30 6v20z" />
      <path class="logo-narrow" d="M14 18L30 12v9z" />
    </svg>
  );
}
