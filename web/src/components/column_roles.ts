/** Which column of a file is which: as detected, and as chosen. */

import type { TablePreview } from "../api/types";

/** The mapping after a column was given a role, or none. */
export function assign(columns: Record<string, string>, reference: string, role: string): Record<string, string> {
  const others = Object.entries(columns).filter(([name, value]) => value !== reference && name !== role);
  return Object.fromEntries(role ? [...others, [role, reference]] : others);
}

/** What each column is read as if it is not chosen: a role that another column was chosen for is not its any more. */
export function detectedRoles(preview: TablePreview, columns: Record<string, string>): string[] {
  return preview.roles.map((role, index) => {
    const chosen = columns[role];
    return chosen === undefined || chosen === preview.references[index] ? role : "";
  });
}
