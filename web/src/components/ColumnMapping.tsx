/** The first rows of a file as they are written: which column is which is chosen beside each column. */

import "./column_mapping.css";

import type { TablePreview } from "../api/types";
import { t } from "../i18n";
import { assign, detectedRoles } from "./column_roles";

const ROLES = ["timestamps", "open", "high", "low", "close", "volume", "amount", "symbol"] as const;
type Role = (typeof ROLES)[number];
/** A file of one column has lines that could not be divided: there is nothing to choose. */
const LEAST_COLUMNS = 2;

export function canMap(preview: TablePreview): boolean {
  return preview.labels.length >= LEAST_COLUMNS;
}

function roleName(role: string): string {
  if (role === "symbol") return t("data.option.symbol");
  if (role === "clock") return t("data.preview.clock");
  return ROLES.includes(role as Role) ? t(`data.column.${role as Exclude<Role, "symbol">}`) : role;
}

interface Props {
  preview: TablePreview;
  /** Chosen columns by role. */
  columns: Record<string, string>;
  onChange: (columns: Record<string, string>) => void;
}

export function ColumnMapping({ preview, columns, onChange }: Props) {
  const mappable = canMap(preview);
  const hidden = preview.columns - preview.labels.length;
  return (
    <>
      <p class="field-hint">{t(mappable ? "data.preview.hint" : "data.preview.lines")}</p>
      <div class="preview" role="region" aria-label={t("data.preview.title")} tabIndex={0}>
        <table data-preview>
          {mappable ? <Columns preview={preview} columns={columns} onChange={onChange} /> : <Lines preview={preview} />}
        </table>
      </div>
      {hidden > 0 && <p class="field-hint">{t("data.preview.more", { count: hidden })}</p>}
    </>
  );
}

/** A line for each column, so that all of them fit beside each other in a narrow panel; the rows go to the right. */
function Columns({ preview, columns, onChange }: Props) {
  const detected = detectedRoles(preview, columns);
  return (
    <>
      <thead>
        <tr>
          <th scope="col">{t("data.preview.column")}</th>
          <th scope="col">{t("data.preview.meaning")}</th>
          {preview.rows.map((_, index) => (
            <th scope="col" key={index}>
              {t("data.preview.row", { number: preview.first + index })}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {preview.references.map((reference, index) => {
          const name = preview.labels[index] || t("data.preview.unnamed", { position: index + 1 });
          return (
            <tr key={reference}>
              <th scope="row" title={name}>
                {name}
              </th>
              <td>
                <RoleChoice
                  label={name}
                  detected={detected[index]!}
                  chosen={ROLES.find((role) => columns[role] === reference) ?? ""}
                  onChange={(role) => onChange(assign(columns, reference, role))}
                />
              </td>
              {preview.rows.map((row, position) => (
                <td key={position}>{row[index]}</td>
              ))}
            </tr>
          );
        })}
      </tbody>
    </>
  );
}

function Lines({ preview }: { preview: TablePreview }) {
  return (
    <tbody>
      {preview.rows.map((row, index) => (
        <tr key={index}>
          <th scope="row">{preview.first + index}</th>
          <td>{row[0]}</td>
        </tr>
      ))}
    </tbody>
  );
}

interface RoleChoiceProps {
  label: string;
  detected: string;
  chosen: string;
  onChange: (role: string) => void;
}

function RoleChoice({ label, detected, chosen, onChange }: RoleChoiceProps) {
  const unchosen = detected && detected !== chosen ? roleName(detected) : "";
  return (
    <select
      aria-label={t("data.preview.role", { name: label })}
      class={chosen || detected ? "" : "quiet"}
      value={chosen}
      onChange={(event) => onChange(event.currentTarget.value)}
    >
      <option value="" selected={!chosen}>
        {unchosen ? t("data.detected", { name: unchosen }) : chosen ? t("data.auto") : t("data.preview.unused")}
      </option>
      {ROLES.map((role) => (
        <option key={role} value={role} selected={role === chosen}>
          {roleName(role)}
        </option>
      ))}
    </select>
  );
}
