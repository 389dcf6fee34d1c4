"""What pcont prints: JSON, columns, trees and messages, on streams that never raise."""
