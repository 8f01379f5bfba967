/** Whether the server responds. While it is away the page asks again, ever less often, and keeps what it shows. */

import { computed, signal } from "@preact/signals";

import { Failure, onContact, request } from "../api/client";

const HEARTBEAT_MS = 5000;
const LONGEST_WAIT_MS = 15_000;

/** When the server was first missed, epoch milliseconds; null while it responds. */
export const goneSince = signal<number | null>(null);
/** Shown for a moment after the server has returned. */
export const justBack = signal(false);
/** The time, ticking every second, for countdowns and ages. */
export const now = signal(Date.now() / 1000);
export const gone = computed(() => goneSince.value !== null);

let wait = 1000;
let timer: ReturnType<typeof setTimeout> | undefined;
let returned: () => void = () => {};

/** Check now whether the server responds, and plan the next check. */
export async function checkServer(): Promise<void> {
  clearTimeout(timer);
  try {
    await request("health");
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
  }
  wait = gone.value ? Math.min(2 * wait, LONGEST_WAIT_MS) : 1000;
  timer = setTimeout(() => void checkWhileVisible(), gone.value ? wait : HEARTBEAT_MS);
}

function checkWhileVisible(): void {
  if (document.visibilityState === "visible") void checkServer();
}

/** Watch the server. `onReturn` is called when it responds again. */
export function watchServer(onReturn: () => void): void {
  returned = onReturn;
  onContact((reached) => {
    if (!reached) {
      if (!gone.value) {
        goneSince.value = Date.now();
        clearTimeout(timer);
        timer = setTimeout(() => void checkWhileVisible(), wait);
      }
    } else if (gone.value) {
      goneSince.value = null;
      justBack.value = true;
      setTimeout(() => (justBack.value = false), 5000);
      returned();
    }
  });
  document.addEventListener("visibilitychange", checkWhileVisible);
  setInterval(() => (now.value = Date.now() / 1000), 1000);
  timer = setTimeout(() => void checkWhileVisible(), HEARTBEAT_MS);
}
